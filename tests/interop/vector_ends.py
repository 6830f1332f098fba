"""The two ends of a vector: with the draws of the vector, where a library has its own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Optional

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign import (ACCEPT, BY_KEY, CLIENT_FACTOR, FURTHER, OAEP, PASSWORD, RSA_X25519MLKEM768, TOKEN,
                         STRETCHED, VERDICT_SIZE, Client, ClientHello, Credential, Draws, KeyLogin, KeyProof, Refused, Sealed,
                         Server, StretchedPassword, Stretching, Tickets, Verdict, client_exchange, client_spki, frame, require_signature, signed,
                         spki_of)

ROOT = Path(__file__).resolve().parents[2]


def same(what: str, ours: object, filed: object) -> None:
    if ours != filed:
        raise AssertionError(f"{what}: {short(ours)} here, {short(filed)} in the vector")


def short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}... ({len(text) // 2} bytes)"


def oaep(key: rsa.RSAPublicKey, message: bytes, seed: bytes) -> bytes:
    """RSAES-OAEP-ENCRYPT of RFC 8017, with SHA-256, the empty label, and the seed given."""
    n, e = key.public_numbers().n, key.public_numbers().e
    size = (n.bit_length() + 7) // 8

    def masked(data: bytes, by: bytes) -> bytes:
        blocks = (hashlib.sha256(by + count.to_bytes(4, "big")).digest() for count in range(len(data) // 32 + 1))
        return bytes(a ^ b for a, b in zip(data, b"".join(blocks)))

    block = hashlib.sha256(b"").digest() + bytes(size - len(message) - 66) + b"\x01" + message
    masked_block = masked(block, seed)
    encoded = b"\0" + masked(seed, masked_block) + masked_block
    return pow(int.from_bytes(encoded, "big"), e, n).to_bytes(size, "big")


class SeededClient(Client):
    """A client whose OAEP seeds are given, too, and where its library would draw for a signature, that signature. What
    a client seals that breaks a rule with it is the vector's own."""

    seeds: list[bytes]
    private_key: rsa.RSAPrivateKey
    careless = False
    signature = b""
    sealed: Optional[bytes] = None  # the credential
    sealed_factor: Optional[bytes] = None

    def proven(self) -> bytes:
        if self.sealed is not None:
            return self.schedule.open(b"credential", self.sealed, "of the vector")
        if not isinstance(self.credential, KeyLogin):
            return super().proven()
        own = self.credential
        require_signature(client_spki(own.key), signed(self.schedule.transcript(), own.user), self.signature)
        plaintext = own.with_signature(self.signature).encode_padded()
        if isinstance(own.key, Ed25519PrivateKey):
            same("the signature", super().proven(), plaintext)
        return plaintext

    def factor(self, answer: bytes) -> bytes:
        if self.sealed_factor is None:
            return super().factor(answer)
        plaintext = self.schedule.open(b"factor", self.sealed_factor, "of the vector")
        data = frame(CLIENT_FACTOR, self.schedule.seal(b"factor", plaintext))
        self.schedule.add(data)
        return data

    def wrap(self, key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
        ciphertext = oaep(key, plaintext, self.seeds.pop(0))
        if spki_of(key) == spki_of(self.private_key.public_key()):
            same("the decrypted rsa_ciphertext", self.private_key.decrypt(ciphertext, OAEP), plaintext)
        return ciphertext

    def is_proof(self, proof: bytes) -> bool:
        return self.careless or super().is_proof(proof)


class VectorServer(Server):
    """A server with the ML-KEM ciphertext of the vector, and the secret that the client finds in it: the library draws
    its own. X25519's part is computed, of the share and of the secret. Its verdict is the vector's, which is checked,
    but for what is opaque."""

    filed: bytes  # the whole share
    client: Draws
    said: Optional[bytes]  # the verdict
    requests: list[bytes]  # the verdicts before it
    breaks: Optional[str]  # the rule that the verdict breaks, if it does
    opened: Optional[bytes] = None  # what the RSA operation came to

    def exchange(self, suite: int, hello: ClientHello) -> tuple[bytes, bytes]:
        share, secret = super().exchange(suite, hello)
        if suite >> 8 != RSA_X25519MLKEM768:
            return share, secret
        share = self.filed[:-32] + share[-32:]
        opened = client_exchange(suite >> 8, self.client.exchanges[suite >> 8], share, "of the vector")
        same("X25519's part of exchange_secret", secret[-32:], opened[-32:])
        return share, opened

    def unwrap(self, ciphertext: bytes, transcript: bytes) -> tuple[bytes, Optional[Refused]]:
        self.opened, why = super().unwrap(ciphertext, transcript)
        return self.opened, why

    def with_ticket(self, verdict: Verdict, kind: int, of: Optional[Sealed] = None) -> Verdict:
        if self.breaks in ("V3", "V7") or self.said is None:
            return verdict
        said = Verdict.decode_padded(self.said.ljust(VERDICT_SIZE, b"\0"))
        return replace(verdict, ticket=said.ticket, ticket_lifetime=said.ticket_lifetime, extensions=said.extensions)

    def seal(self, verdict: Verdict) -> bytes:
        filed = self.requests.pop(0) if self.requests else self.said
        assert filed is not None
        said = filed.ljust(VERDICT_SIZE, b"\0")
        if self.breaks not in ("V3", "V7") or verdict.decision == FURTHER:
            same("the verdict", verdict.encode_padded(), said)
        return self.schedule.seal(b"verdict", said)


class VectorTickets(Tickets):
    """Knows the ticket of the vector, which opens under a key that is still there."""

    def __init__(self, ticket: bytes, known: Sealed, now: int = 0, was_used: bool = False):
        super().__init__(clock=lambda: now)
        self.ticket, self.known = ticket, known
        if was_used:
            self.used[known.chain] = [(ticket, known.made)]

    def open(self, ticket: bytes) -> Sealed:
        same("the ticket", ticket, self.ticket)
        return self.known

    def check_chain(self, ticket: bytes, of: Sealed) -> None:
        pass


SIGNING_KEYS = [serialization.load_pem_private_key((ROOT / f"tests/keys/signing/{name}.pem").read_bytes(), None)
                for name in ("ed25519", "p256", "rsa")]


def verify(credential: Credential, of: Optional[Stretching] = None, stored: list[bytes] = []) -> Optional[Verdict]:
    """The accounts that the vectors were made with; `stored` is what is kept of alice's stretched password."""
    if credential.kind == STRETCHED:
        assert of
        shown = StretchedPassword.decode(credential.secret, of)
        good = shown.is_good(stored if credential.user == "alice" else [])
        return Verdict(ACCEPT, "alice", ["read", "write"]) if good else None
    if credential.kind == BY_KEY:
        theirs = credential.user, KeyProof.decode(credential.secret).key
        on_file = [("alice", client_spki(key)) for key in SIGNING_KEYS]  # type: ignore[arg-type]
        return Verdict(ACCEPT, "alice", ["read", "write"]) if theirs in on_file else None
    if (credential.kind, credential.user, credential.secret) == (PASSWORD, "alice", b"correct horse battery staple"):
        return Verdict(ACCEPT, "alice", ["read", "write"])
    if (credential.kind, credential.secret) == (TOKEN, b"an-opaque-token"):
        return Verdict(ACCEPT, "robot")
    return None
