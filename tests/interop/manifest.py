"""Manifests: what an identity key says of server keys. Extension 2 of PROTOCOL.md, and M1 to M8."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_keys import require_ed25519
from wire import SKEW, Reader, Refused, is_visible, listed, lp, require, u8, u64, unique


@dataclass
class ManifestKey:
    key_id: bytes
    not_before: int  # Unix seconds, as all times here
    not_after: int
    floor: int = 2

    def encode(self) -> bytes:
        return self.key_id + u64(self.not_before) + u64(self.not_after) + u8(self.floor)


@dataclass
class Manifest:
    identity: bytes
    sequence: int
    issued: int
    expires: int
    names: list[str] = field(default_factory=list)
    keys: list[ManifestKey] = field(default_factory=list)
    signature: bytes = bytes(64)

    def encode(self) -> bytes:
        return self.unsigned() + self.signature

    def unsigned(self) -> bytes:
        return (self.identity + u64(self.sequence) + u64(self.issued) + u64(self.expires)
                + listed(lp(name.encode()) for name in self.names) + listed(key.encode() for key in self.keys))

    def signed(self) -> bytes:
        return lp(b"countersign v1 manifest") + self.unsigned()

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """The manifest, whose `identity` is this key's public half, signed by it."""
        self.identity = key.public_key().public_bytes_raw()
        self.signature = key.sign(self.signed())
        return self.encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        r = Reader(data, "M1")
        manifest = cls(r.take(32), r.number(8), r.number(8), r.number(8), r.items(16, r.text),
                       r.items(8, lambda: ManifestKey(r.take(32), r.number(8), r.number(8), r.number(1))), r.take(64))
        r.end()
        require(manifest.sequence >= 1, "M1", "sequence")
        require(manifest.issued < manifest.expires, "M1", "it expires before it was issued")
        require(all(is_visible(name, 1, 255) for name in manifest.names), "M1", "a name")
        require(unique(manifest.names), "M1", "a name twice")
        require(bool(manifest.keys), "M1", "no key")
        require(unique([key.key_id for key in manifest.keys]), "M1", "a key twice")
        require(all(key.not_before < key.not_after for key in manifest.keys), "M1", "a key's times")
        return manifest


@dataclass
class Identity:
    """An identity key that a client pins, and the highest manifest that it has taken of it, which it keeps."""

    key: bytes  # Ed25519, 32 bytes
    taken: Optional[bytes] = None

    def judge(self, data: Optional[bytes], id_: bytes, suite: int, server_name: str, now: int) -> None:
        """Refused: the manifest that was sent does not speak for this server key now, or, where none was, the one kept. That
        takes the place of none that was refused (M7)."""
        if data is not None:
            self.take(data, server_name, now)
        self.require_named(id_, suite, server_name, now)

    def take(self, data: bytes, server_name: str, now: int) -> None:
        """Keeps a manifest that passes M1 to M5."""
        manifest = Manifest.decode(data)
        require(manifest.identity == self.key, "M2", "of another identity")
        require_ed25519(self.key, manifest.signed(), manifest.signature, "M2")
        if self.taken is not None:
            highest = Manifest.decode(self.taken).sequence
            require(manifest.sequence >= highest, "M3", f"sequence {manifest.sequence} comes after {highest}")
            require(manifest.sequence > highest or data == self.taken, "M3", "two manifests of one sequence")
        require_valid(manifest, server_name, now)
        self.taken = data

    def require_named(self, id_: bytes, suite: int, server_name: str, now: int) -> None:
        """M6, of the manifest kept, which is the one sent if that was good."""
        if self.taken is None:
            raise Refused("T1", "no manifest was sent, and none is kept")
        manifest = Manifest.decode(self.taken)
        require_valid(manifest, server_name, now)
        named = next((key for key in manifest.keys if key.key_id == id_), None)
        require(named is not None, "M6", "the server key is not among its keys")
        assert named
        require(named.not_before <= now < named.not_after, "M6", "the server key is not to be used now")
        require(suite >> 8 >= named.floor, "M6", "a weaker key exchange than the key's floor")


def require_valid(manifest: Manifest, server_name: str, now: int) -> None:
    """M4 and M5."""
    require(now < manifest.expires, "M4", "it has expired")
    require(manifest.issued <= now + SKEW, "M4", "issued in the future")
    require(not manifest.names or server_name in manifest.names, "M5", "of another server")
