"""The countersign protocol, version 1: a client and a server, written from PROTOCOL.md alone.

A second implementation, to test the first one against and to read beside PROTOCOL.md. Nothing here does I/O: `Client`
and `Server` take whole frames and give whole frames, `Direction` seals and opens records; `sockets.py` moves the bytes.
A broken MUST raises `Refused` with the number of its rule (L6, C8, ...).

Not for production: Python promises no constant time, so what a server must not tell by its timing (above all, that an
RSA ciphertext did not decrypt) is hidden by the fixed delay of refusals at best. Nor does Python wipe secrets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VERSION = 1
(CLIENT_HELLO, SERVER_HELLO, CLIENT_LOGIN, SERVER_VERDICT, DATA, KEY_UPDATE, CLOSE,
 SERVER_RESUMPTION) = range(1, 9)
BODY = {CLIENT_HELLO: (1, 4217), SERVER_HELLO: (1, 2705), CLIENT_LOGIN: (1, 5652), SERVER_VERDICT: (1552, 1552),
        DATA: (17, 16400), KEY_UPDATE: (16, 16), CLOSE: (16, 16), SERVER_RESUMPTION: (1552, 3126)}
RSA_ALONE, RSA_X25519, RSA_X25519MLKEM768 = 1, 2, 3
Aead = type[AESGCM] | type[ChaCha20Poly1305]
AEADS: dict[int, Aead] = {0x0101: AESGCM, 0x0102: ChaCha20Poly1305, 0x0201: AESGCM, 0x0202: ChaCha20Poly1305,
                          0x0301: AESGCM, 0x0302: ChaCha20Poly1305}
FORWARD_SECRET = (0x0301, 0x0302, 0x0201, 0x0202)
PASSWORD, TOKEN = 1, 2
TAG, BLOCK, MAX_PADDED, VERDICT_SIZE, MAX_DATA, MAX_FRAMES = 16, 256, 4608, 1536, 16384, 2 ** 24
MAX_TICKET, MAX_GRANT, BINDER = 500, 1024, 32
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
T = TypeVar("T")


class Refused(Exception):
    """A MUST of PROTOCOL.md was broken; `rule` is its number there."""

    def __init__(self, rule: str, why: str):
        super().__init__(f"{rule}: {why}")
        self.rule = rule


def require(condition: bool, rule: str, why: str) -> None:
    if not condition:
        raise Refused(rule, why)


# ---- Encoding -------------------------------------------------------------------------------------------------------

def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def lp(data: bytes) -> bytes:
    return u16(len(data)) + data


def listed(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return u8(len(items)) + b"".join(items)


def frame(kind: int, body: bytes) -> bytes:
    return u8(kind) + lp(body)


class Reader:
    """Takes a message apart; whatever is not its one encoding is refused by `rule`."""

    def __init__(self, data: bytes, rule: str):
        self.data, self.at, self.rule = data, 0, rule

    def take(self, size: int) -> bytes:
        require(self.at + size <= len(self.data), self.rule, "ends early")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def blob(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.blob().decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(self.rule, "text is not UTF-8") from None

    def items(self, most: int, item: Callable[[], T]) -> list[T]:
        count = self.number(1)
        require(count <= most, self.rule, "count over the maximum")
        return [item() for _ in range(count)]

    def end(self) -> None:
        require(self.at == len(self.data), self.rule, "bytes left over")

    def zeros(self) -> None:
        require(not any(self.take(len(self.data) - self.at)), self.rule, "padding is not zeros")


def unique(items: Sequence[object]) -> bool:
    return len(set(items)) == len(items)


def is_name(text: str) -> bool:
    return 1 <= len(text.encode()) <= 255 and not any(unicodedata.category(c) == "Cc" for c in text)


def is_visible(text: str, low: int, high: int) -> bool:
    return low <= len(text) <= high and all(0x21 <= ord(c) <= 0x7e for c in text)


# ---- Messages -------------------------------------------------------------------------------------------------------

@dataclass
class ClientHello:
    versions: list[int]
    suites: list[int]
    nonce: bytes
    key_shares: list[tuple[int, bytes]]
    server_name: str
    known_keys: list[bytes]
    ticket: bytes = b""
    binder: bytes = b""

    def encode(self) -> bytes:
        return (listed(map(u16, self.versions)) + listed(map(u16, self.suites)) + self.nonce
                + listed(u8(exchange) + lp(share) for exchange, share in self.key_shares)
                + lp(self.server_name.encode()) + listed(self.known_keys) + lp(self.ticket) + lp(self.binder))

    @classmethod
    def decode(cls, body: bytes) -> ClientHello:
        r = Reader(body, "S2")
        hello = cls(r.items(8, lambda: r.number(2)), r.items(16, lambda: r.number(2)), r.take(32),
                    r.items(4, lambda: (r.number(1), r.blob())), r.text(), r.items(8, lambda: r.take(32)),
                    r.blob(), r.blob())
        r.end()
        require(bool(hello.versions and hello.suites), "S3", "empty versions or suites")
        exchanges = [exchange for exchange, _ in hello.key_shares]
        for entries in (hello.versions, hello.suites, exchanges, hello.known_keys):
            require(unique(entries), "S4", "an entry named twice")
        require(set(exchanges) == {s >> 8 for s in hello.suites} - {RSA_ALONE}, "S5", "shares do not match the suites")
        require(is_visible(hello.server_name, 0, 255), "S6", "server name")
        require(len(hello.ticket) <= MAX_TICKET, "S11", "length of the ticket")
        require(len(hello.binder) == (BINDER if hello.ticket else 0), "S11", "length of the binder")
        return hello


@dataclass
class ServerHello:
    version: int
    suite: int
    nonce: bytes
    key_id: bytes
    spki: bytes
    key_share: bytes
    credential_kinds: list[int]

    def encode(self) -> bytes:
        return (u16(self.version) + u16(self.suite) + self.nonce + self.key_id + lp(self.spki) + lp(self.key_share)
                + listed(map(u8, self.credential_kinds)))

    @classmethod
    def decode(cls, body: bytes) -> ServerHello:
        r = Reader(body, "C2")
        hello = cls(r.number(2), r.number(2), r.take(32), r.take(32), r.blob(), r.blob(),
                    r.items(8, lambda: r.number(1)))
        r.end()
        return hello


@dataclass
class Credential:
    kind: int
    user: str
    secret: bytes

    def encode_padded(self) -> bytes:
        data = u8(self.kind) + lp(self.user.encode()) + lp(self.secret)
        return data + bytes(-len(data) % BLOCK)

    @classmethod
    def decode_padded(cls, data: bytes) -> Credential:
        r = Reader(data, "L8")
        credential = cls(r.number(1), r.text(), r.blob())
        require(len(data) - r.at < BLOCK, "L8", "a block of padding too many")
        r.zeros()
        require(credential.kind in (PASSWORD, TOKEN), "L8", "kind")
        require(is_name(credential.user) if credential.kind == PASSWORD else not credential.user, "L8", "user")
        require(1 <= len(credential.secret) <= 4096, "L8", "secret")
        return credential


@dataclass
class Verdict:
    accept: bool
    principal: str = ""
    permissions: list[str] = field(default_factory=list)
    ticket: bytes = b""
    ticket_expires: int = 0

    def encode(self) -> bytes:
        return (u8(self.accept) + lp(self.principal.encode()) + listed(lp(p.encode()) for p in self.permissions)
                + lp(self.ticket) + u64(self.ticket_expires))

    def encode_padded(self) -> bytes:
        data = self.encode()
        data = data.ljust(VERDICT_SIZE, b"\0")
        Verdict.decode_padded(data)  # a server checks its own verdict, its length above all, before it accepts
        return data

    @classmethod
    def decode_padded(cls, data: bytes, rule: str = "V3") -> Verdict:
        require(len(data) == VERDICT_SIZE, rule, "length")
        r = Reader(data, rule)
        decision, principal, permissions = r.number(1), r.text(), r.items(32, r.text)
        require(r.at <= MAX_GRANT, rule, "principal and permissions are too long")
        ticket, expires = r.blob(), r.number(8)
        r.zeros()
        require(decision in (0, 1), rule, "decision")
        if decision:
            require(is_name(principal), rule, "principal")
            require(unique(permissions), rule, "a permission named twice")
            require(all(is_visible(p, 1, 64) and "," not in p for p in permissions), rule, "permissions")
            require(len(ticket) <= MAX_TICKET, rule, "length of the ticket")
        else:
            require(not principal and not permissions and not ticket, rule, "a reject that grants something")
        require(bool(ticket) or not expires, rule, "no ticket, and yet it expires")
        return cls(bool(decision), principal, permissions, ticket, expires)


@dataclass
class ServerResumption:
    version: int
    suite: int
    nonce: bytes
    key_share: bytes
    sealed_verdict: bytes

    def encode(self) -> bytes:
        return u16(self.version) + u16(self.suite) + self.nonce + lp(self.key_share) + self.sealed_verdict

    @classmethod
    def decode(cls, body: bytes) -> ServerResumption:
        r = Reader(body, "A2")
        answer = cls(r.number(2), r.number(2), r.take(32), r.blob(), r.take(VERDICT_SIZE + TAG))
        r.end()
        return answer


# ---- Server keys ----------------------------------------------------------------------------------------------------

def key_id(spki: bytes) -> bytes:
    return hashlib.sha256(spki).digest()


def fingerprint(id_: bytes) -> str:
    return "SHA256:" + base64.b64encode(id_).decode().rstrip("=")


def spki_of(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def server_key(spki: bytes) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_der_public_key(spki)
    except Exception:  # ValueError, UnsupportedAlgorithm, and what else a parser may raise
        raise Refused("C7", "not a public key") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused("C7", "not an RSA key")
    require(spki_of(key) == spki, "C7", "the DER is not canonical, or of another algorithm")
    n, e = key.public_numbers().n, key.public_numbers().e
    require(2048 <= n.bit_length() <= 8192 and n % 2 == 1, "C7", "modulus")
    require(65537 <= e < 2 ** 33 and e % 2 == 1, "C7", "public exponent")
    return key


# ---- Key exchanges --------------------------------------------------------------------------------------------------

class X25519:
    """RFC 7748. What either end draws is its private key."""

    DRAW, CLIENT_SHARE, SERVER_SHARE = 32, 32, 32

    @staticmethod
    def offer(drawn: bytes) -> bytes:
        return X25519PrivateKey.from_private_bytes(drawn).public_key().public_bytes_raw()

    @staticmethod
    def answer(drawn: bytes, share: bytes) -> tuple[bytes, bytes]:
        return X25519.offer(drawn), X25519.finish(drawn, share)

    @staticmethod
    def finish(drawn: bytes, share: bytes) -> bytes:
        """ValueError: the output is all zeros."""
        return X25519PrivateKey.from_private_bytes(drawn).exchange(X25519PublicKey.from_public_bytes(share))


class MlKem768:
    """FIPS 203. What the client draws is its seed, d || z; what the server draws is left to the library."""

    DRAW, CLIENT_SHARE, SERVER_SHARE = 64, 1184, 1088

    @staticmethod
    def offer(drawn: bytes) -> bytes:
        return MLKEM768PrivateKey.from_seed_bytes(drawn).public_key().public_bytes_raw()

    @staticmethod
    def answer(_: bytes, share: bytes) -> tuple[bytes, bytes]:
        """ValueError: a coefficient is not reduced."""
        secret, ciphertext = MLKEM768PublicKey.from_public_bytes(share).encapsulate()
        return ciphertext, secret

    @staticmethod
    def finish(drawn: bytes, share: bytes) -> bytes:
        return MLKEM768PrivateKey.from_seed_bytes(drawn).decapsulate(share)


Part = type[X25519] | type[MlKem768]
# The parts of each key exchange, in the order in which their shares and their secrets are joined.
PARTS: dict[int, list[Part]] = {RSA_ALONE: [], RSA_X25519: [X25519], RSA_X25519MLKEM768: [MlKem768, X25519]}


def client_share(exchange: int, drawn: Sequence[bytes]) -> bytes:
    return b"".join(part.offer(own) for part, own in zip(PARTS[exchange], drawn))


def server_exchange(exchange: int, drawn: Sequence[bytes], share: bytes, rule: str) -> tuple[bytes, bytes]:
    """The server's share, and exchange_secret."""
    r = Reader(share, rule)
    try:
        pairs = [part.answer(own, r.take(part.CLIENT_SHARE)) for part, own in zip(PARTS[exchange], drawn)]
    except ValueError:
        raise Refused(rule, "unusable key share") from None
    r.end()
    return b"".join(answer for answer, _ in pairs), b"".join(secret for _, secret in pairs) or bytes(32)


def client_exchange(exchange: int, drawn: Sequence[bytes], share: bytes, rule: str) -> bytes:
    """exchange_secret, from the server's share."""
    r = Reader(share, rule)
    try:
        secrets = [part.finish(own, r.take(part.SERVER_SHARE)) for part, own in zip(PARTS[exchange], drawn)]
    except ValueError:
        raise Refused(rule, "unusable key share") from None
    r.end()
    return b"".join(secrets) or bytes(32)


# ---- Key schedule ---------------------------------------------------------------------------------------------------

def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt, ikm, "sha256")


def expand(prk: bytes, label: bytes, context: bytes, size: int) -> bytes:
    return HKDFExpand(hashes.SHA256(), size, u16(size) + b"countersign v1 " + label + b"\0" + context).derive(prk)


def seed(prologue: bytes, binding: tuple[str, bytes]) -> bytes:
    return lp(b"countersign v1") + lp(prologue) + lp(binding[0].encode()) + lp(binding[1])


def binder(ticket_secret: bytes, seed_: bytes, hello: bytes) -> bytes:
    """The binder that belongs to this ClientHello: a whole frame, with any binder of 32 bytes."""
    transcript_b = hashlib.sha256(seed_ + hello[:-2 - BINDER]).digest()
    return expand(extract(bytes(32), ticket_secret), b"binder", transcript_b, BINDER)


class Schedule:
    """The transcript and the keys of one handshake, the same at both ends."""

    def __init__(self, suite: int, prologue: bytes, binding: tuple[str, bytes], hellos: bytes):
        self.suite, self.aead, self.master = suite, AEADS[suite], b""
        self.running = hashlib.sha256(seed(prologue, binding) + hellos)

    def add(self, data: bytes) -> None:
        self.running.update(data)

    def transcript(self) -> bytes:
        return self.running.digest()

    def mix(self, rsa_secret: bytes, exchange_secret: bytes, ticket_secret: bytes = bytes(32)) -> None:
        stage_0 = extract(bytes(32), ticket_secret)
        self.master = extract(extract(stage_0, rsa_secret), exchange_secret)

    def key(self, label: bytes, size: int = 32) -> bytes:
        return expand(self.master, label, self.transcript(), size)

    def seal(self, label: bytes, plaintext: bytes) -> bytes:
        return self.aead(self.key(label)).encrypt(bytes(12), plaintext, b"")

    def open(self, label: bytes, sealed: bytes, rule: str) -> bytes:
        try:
            return self.aead(self.key(label)).decrypt(bytes(12), sealed, b"")
        except InvalidTag:
            raise Refused(rule, "does not open") from None


# ---- Records --------------------------------------------------------------------------------------------------------

class Direction:
    """One direction of a session: its traffic secret, the number of its next frame, and whether it was closed."""

    def __init__(self, aead: Aead, secret: bytes):
        self.aead, self.closed, self.used = aead, False, False
        self.use(secret)

    def use(self, secret: bytes) -> None:
        self.secret, self.n = secret, 0
        self.key, self.iv = expand(secret, b"key", b"", 32), expand(secret, b"iv", b"", 12)
        self.cipher = self.aead(self.key)

    def nonce(self) -> bytes:
        return bytes(a ^ b for a, b in zip(self.iv, self.n.to_bytes(12, "big")))

    def step(self, kind: int) -> None:
        self.n += 1
        self.used = True
        if kind == KEY_UPDATE:
            self.use(expand(self.secret, b"update", b"", 32))
        self.closed = kind == CLOSE

    def seal(self, kind: int, plaintext: bytes = b"") -> bytes:
        if self.closed:
            raise ValueError("this direction is closed")
        if kind == KEY_UPDATE and self.n == 0:
            return b""  # R6: an unused key is not updated
        before = self.seal(KEY_UPDATE) if kind == DATA and self.n >= MAX_FRAMES else b""
        header = u8(kind) + u16(len(plaintext) + TAG)
        sealed = header + self.cipher.encrypt(self.nonce(), plaintext, header)
        self.step(kind)
        return before + sealed

    def open(self, record: bytes) -> bytes:
        require(not self.closed, "R3", "a frame after a Close")
        require(self.n <= MAX_FRAMES, "R5", "too many frames under one key")
        require(record[0] != KEY_UPDATE or self.n > 0, "R6", "an update of an unused key")
        try:
            plaintext = self.cipher.decrypt(self.nonce(), record[3:], record[:3])
        except InvalidTag:
            raise Refused("R2", "does not open") from None
        self.step(record[0])
        return plaintext


@dataclass
class Ticket:
    """What a client keeps of a login for the next one. The secret is to be kept as a password is."""

    ticket: bytes
    secret: bytes
    suite: int
    key_id: bytes
    expires: int


class Session:
    """What an accepted login leaves at either end. The schedule has all its frames by now: transcript_4."""

    def __init__(self, schedule: Schedule, verdict: Verdict, is_client: bool, resumed: bool = False,
                 ticket: Optional[Ticket] = None):
        self.verdict, self.resumed, self.ticket = verdict, resumed, ticket
        self.session_id, self.exporter = schedule.key(b"session id", 16), schedule.key(b"exporter")
        client = Direction(schedule.aead, schedule.key(b"client traffic"))
        server = Direction(schedule.aead, schedule.key(b"server traffic"))
        self.outgoing, self.incoming = (client, server) if is_client else (server, client)

    def peer_is_present(self) -> bool:
        """Whether the peer has proved that it is there now. A server knows it of a resumption with the first record."""
        return not self.resumed or self.incoming.used

    def export(self, label: str, context: bytes, size: int) -> bytes:
        name = label.encode()
        if not 1 <= len(name) <= 255 or 0 in name or not 1 <= size <= 8160:
            raise ValueError("label or length of an exported key")
        return expand(self.exporter, b"export " + name, hashlib.sha256(context).digest(), size)


# ---- Handshake ------------------------------------------------------------------------------------------------------

def fresh() -> bytes:
    return os.urandom(32)


def fresh_parts() -> dict[int, list[bytes]]:
    return {exchange: [os.urandom(part.DRAW) for part in parts] for exchange, parts in PARTS.items()}


@dataclass
class Draws:
    """What one end draws for one handshake, but for OAEP's seed. Only tests give any of it."""

    nonce: bytes = field(default_factory=fresh)
    exchanges: dict[int, list[bytes]] = field(default_factory=fresh_parts)  # for each key exchange, that of its parts
    rsa_secret: bytes = field(default_factory=fresh)  # the client's
    fallback: bytes = field(default_factory=fresh)  # the server's


class Client:
    """One handshake: hello() -> on_server_hello() -> on_verdict(), or, if `ticket` is still set after hello() and a
    ServerResumption comes, hello() -> on_server_resumption(). Each takes and gives whole frames.

    A ticket is shown only where a credential would be sent; otherwise it is as if none had been given.
    """

    def __init__(self, credential: Credential, pins: Iterable[bytes] = (), known_keys: Iterable[bytes] = (),
                 suites: Iterable[int] = FORWARD_SECRET, weakest_exchange: int = RSA_ALONE, server_name: str = "",
                 prologue: bytes = b"", binding: tuple[str, bytes] = ("", b""), draws: Optional[Draws] = None,
                 ticket: Optional[Ticket] = None):
        self.plaintext, self.kind = credential.encode_padded(), credential.kind
        Credential.decode_padded(self.plaintext)  # its bounds hold for us, too
        self.known = {key_id(spki): spki for spki in known_keys}
        self.pins = {*pins, *self.known}
        self.suites, self.weakest, self.server_name = list(suites), weakest_exchange, server_name
        self.prologue, self.binding, self.draws = prologue, binding, draws or Draws()
        shown = ticket and (ticket.key_id in self.pins and ticket.suite >> 8 >= self.weakest
                            and ticket.suite in self.suites)
        self.ticket = ticket if shown else None

    def hello(self) -> bytes:
        exchanges = sorted({suite >> 8 for suite in self.suites} - {RSA_ALONE})
        shares = [(exchange, client_share(exchange, self.draws.exchanges[exchange])) for exchange in exchanges]
        hello = ClientHello([VERSION], self.suites, self.draws.nonce, shares, self.server_name, list(self.known))
        if self.ticket:
            hello.ticket, hello.binder = self.ticket.ticket, bytes(BINDER)
            unbound = frame(CLIENT_HELLO, hello.encode())
            hello.binder = binder(self.ticket.secret, seed(self.prologue, self.binding), unbound)
        body = hello.encode()
        ClientHello.decode(body)
        self.sent = frame(CLIENT_HELLO, body)
        return self.sent

    def on_server_resumption(self, received: bytes) -> Session:
        assert self.ticket
        answer = ServerResumption.decode(received[3:])
        require(answer.version == VERSION, "A3", "a version that was not offered")
        require(answer.suite == self.ticket.suite, "A3", "a suite that is not the ticket's")
        exchange_secret = self.exchange(answer.suite, answer.key_share, "A4")
        head = received[:-len(answer.sealed_verdict)]
        self.schedule = Schedule(answer.suite, self.prologue, self.binding, self.sent + head)  # transcript_3
        self.schedule.mix(bytes(32), exchange_secret, self.ticket.secret)
        verdict = Verdict.decode_padded(self.schedule.open(b"verdict", answer.sealed_verdict, "A5"), "A6")
        require(verdict.accept, "A6", "a reject")
        return self.accepted(verdict, answer.sealed_verdict, self.ticket.key_id, True)

    def exchange(self, suite: int, share: bytes, rule: str) -> bytes:
        """exchange_secret."""
        return client_exchange(suite >> 8, self.draws.exchanges[suite >> 8], share, rule)

    def accepted(self, verdict: Verdict, sealed: bytes, id_: bytes, resumed: bool) -> Session:
        """The schedule is at transcript_3; what it lacks of transcript_4 is `sealed`."""
        secret, ticket = self.schedule.key(b"resumption"), None
        if verdict.ticket:
            ticket = Ticket(verdict.ticket, secret, self.schedule.suite, id_, verdict.ticket_expires)
        self.schedule.add(sealed)
        return Session(self.schedule, verdict, True, resumed, ticket)

    def on_server_hello(self, received: bytes) -> bytes:
        hello = ServerHello.decode(received[3:])
        require(hello.version == VERSION, "C3", "a version that was not offered")
        require(hello.suite in self.suites, "C4", "a suite that was not offered")
        require(bool(hello.credential_kinds) and unique(hello.credential_kinds), "C5", "credential kinds")
        require(bool(hello.spki) or hello.key_id in self.known, "C6", "no key, and it was not listed")
        spki = hello.spki or self.known[hello.key_id]
        key = server_key(spki)
        require(key_id(spki) == hello.key_id, "C8", "the key id is not that of the key")
        exchange_secret = self.exchange(hello.suite, hello.key_share, "C9")
        require(hello.key_id in self.pins, "T1", f"the server's key {fingerprint(hello.key_id)} is not trusted")
        require(hello.suite >> 8 >= self.weakest, "T2", "a weaker key exchange than is kept with the pin")
        require(self.kind in hello.credential_kinds, "T3", "the server does not take such a credential")
        self.key_id = hello.key_id

        self.schedule = Schedule(hello.suite, self.prologue, self.binding, self.sent + received)
        self.schedule.mix(self.draws.rsa_secret, exchange_secret)
        wrapped = lp(self.wrap(key, self.draws.rsa_secret + self.schedule.transcript()))
        # The header counts the sealed credential and goes into its key, so the length is computed before the sealing.
        head = u8(CLIENT_LOGIN) + u16(len(wrapped) + 2 + len(self.plaintext) + TAG) + wrapped
        self.schedule.add(head)  # transcript_r
        sealed = lp(self.schedule.seal(b"credential", self.plaintext))
        self.schedule.add(sealed)  # transcript_3
        return head + sealed

    def wrap(self, key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
        return key.encrypt(plaintext, OAEP)

    def on_verdict(self, received: bytes) -> Session:
        verdict = Verdict.decode_padded(self.schedule.open(b"verdict", received[3:], "V2"))
        require(verdict.accept, "V4", "the server rejected the credential")
        return self.accepted(verdict, received, self.key_id, False)


@dataclass
class Account:
    """What a server knows of a principal that may log in now. The epoch is another whenever the account has changed."""

    epoch: int
    permissions: list[str]


@dataclass
class Sealed:
    """What is in a ticket of this server's."""

    principal: str
    epoch: int
    suite: int
    key_id: bytes
    shown: int  # when a credential was last shown
    expires: int
    secret: bytes


class Tickets:
    """Seals and opens the tickets of one server, or of several that share the key. Times are in seconds since 1970."""

    def __init__(self, lifetime: int = 3600, single_use: bool = False, clock: Callable[[], float] = time.time):
        self.lifetime, self.single_use, self.clock = lifetime, single_use, clock
        self.cipher, self.used = AESGCM(fresh()), set[bytes]()

    def now(self) -> int:
        return int(self.clock())

    def expires(self, shown: int) -> int:
        """However often it is renewed, a login ends this long after its credential was shown."""
        return shown + self.lifetime

    def seal(self, of: Sealed) -> bytes:
        nonce = os.urandom(12)
        state = (u64(of.epoch) + u16(of.suite) + of.key_id + u64(of.shown) + u64(of.expires) + of.secret
                 + lp(of.principal.encode()))
        return nonce + self.cipher.encrypt(nonce, state, b"")

    def open(self, ticket: bytes) -> Sealed:
        require(len(ticket) > 12, "K1", "too short")
        try:
            r = Reader(self.cipher.decrypt(ticket[:12], ticket[12:], b""), "K1")
        except InvalidTag:
            raise Refused("K1", "not a ticket of ours") from None
        epoch, suite, id_, shown, expires, secret = (r.number(8), r.number(2), r.take(32), r.number(8), r.number(8),
                                                     r.take(32))
        sealed = Sealed(r.text(), epoch, suite, id_, shown, expires, secret)
        r.end()
        return sealed

    def use(self, ticket: bytes) -> None:
        """K6. Only for a ticket that is good otherwise, or anybody could use it up."""
        require(not self.single_use or ticket not in self.used, "K6", "used before")
        self.used.add(ticket)


Verify = Callable[[Credential], Optional[Verdict]]
FindAccount = Callable[[str], Optional[Account]]


class Server:
    """One handshake: on_client_hello() -> on_client_login(), or refuse() for a login that never came whole.

    `verify` gives the accepting verdict for a credential, or None; it must cost the same whomever a credential names.
    With `tickets`, and `account` for what is known of a principal now, on_client_hello() may give a ServerResumption:
    `session` is set then. `not_taken` says why a ticket was not taken; both are for the log alone.
    """

    def __init__(self, key: rsa.RSAPrivateKey, verify: Verify, suites: Iterable[int] = FORWARD_SECRET,
                 kinds: Iterable[int] = (PASSWORD, TOKEN), prologue: bytes = b"",
                 binding: tuple[str, bytes] = ("", b""), draws: Optional[Draws] = None,
                 tickets: Optional[Tickets] = None, account: FindAccount = lambda principal: None):
        self.key, self.verify, self.suites, self.kinds = key, verify, list(suites), list(kinds)
        self.prologue, self.binding, self.draws = prologue, binding, draws or Draws()
        self.tickets, self.account = tickets, account
        self.session: Optional[Session] = None
        self.not_taken: Optional[Refused] = None
        self.spki = spki_of(key.public_key())
        server_key(self.spki)
        # What is verified where no credential came out: of the first kind taken, with a name that no account can have.
        self.stand_in = Credential(self.kinds[0], "\0" if self.kinds[0] == PASSWORD else "", fresh())

    def on_client_hello(self, received: bytes) -> bytes:
        hello = ClientHello.decode(received[3:])
        require(VERSION in hello.versions, "S7", "no version in common")
        if hello.ticket and self.tickets:
            try:
                sealed, account = self.take(self.tickets, hello, received)
            except Refused as why:
                self.not_taken = why
            else:
                return self.resume(sealed, account, hello, received)
        common = [suite for suite in self.suites if suite in hello.suites]
        require(bool(common), "S8", "no suite in common")
        suite = common[0]
        share, self.exchange_secret = self.exchange(suite, hello)
        id_ = key_id(self.spki)
        spki = b"" if id_ in hello.known_keys else self.spki
        body = ServerHello(VERSION, suite, self.draws.nonce, id_, spki, share, self.kinds).encode()
        answer = frame(SERVER_HELLO, body)
        self.schedule = Schedule(suite, self.prologue, self.binding, received + answer)
        return answer

    def exchange(self, suite: int, hello: ClientHello) -> tuple[bytes, bytes]:
        """The server's share, and exchange_secret."""
        share = dict(hello.key_shares).get(suite >> 8, b"")  # none for RSA alone
        return server_exchange(suite >> 8, self.draws.exchanges[suite >> 8], share, "S9")

    def take(self, tickets: Tickets, hello: ClientHello, received: bytes) -> tuple[Sealed, Account]:
        """What is in a good ticket, and the account as it is now. Who breaks a rule goes on with a ServerHello."""
        sealed = tickets.open(hello.ticket)
        require(tickets.now() < sealed.expires, "K2", "it has expired")
        wanted = binder(sealed.secret, seed(self.prologue, self.binding), received)
        require(hmac.compare_digest(hello.binder, wanted), "K3", "the binder is another")
        require(sealed.suite in hello.suites and sealed.suite in self.suites, "K4", "its suite")
        require(sealed.key_id == key_id(self.spki), "K5", "from a login under another key")
        account = self.account(sealed.principal)
        if not account or account.epoch != sealed.epoch:
            raise Refused("K7", "the account is gone or has changed")
        tickets.use(hello.ticket)
        return sealed, account

    def resume(self, sealed: Sealed, account: Account, hello: ClientHello, received: bytes) -> bytes:
        share, exchange_secret = self.exchange(sealed.suite, hello)
        answer = ServerResumption(VERSION, sealed.suite, self.draws.nonce, share, bytes(VERDICT_SIZE + TAG))
        head = frame(SERVER_RESUMPTION, answer.encode())[:-len(answer.sealed_verdict)]
        self.schedule = Schedule(sealed.suite, self.prologue, self.binding, received + head)  # transcript_3
        self.schedule.mix(bytes(32), exchange_secret, sealed.secret)
        verdict = self.with_ticket(Verdict(True, sealed.principal, account.permissions), sealed.shown)
        sealed_verdict = self.schedule.seal(b"verdict", verdict.encode_padded())
        self.schedule.add(sealed_verdict)
        self.session = Session(self.schedule, verdict, is_client=False, resumed=True)
        return head + sealed_verdict

    def with_ticket(self, verdict: Verdict, shown: Optional[int] = None) -> Verdict:
        """The verdict with a ticket, if there are any and the principal has an account. For transcript_3."""
        account = self.account(verdict.principal)
        if not self.tickets or not account:
            return verdict
        shown = self.tickets.now() if shown is None else shown
        expires = self.tickets.expires(shown)
        ticket = self.tickets.seal(Sealed(verdict.principal, account.epoch, self.schedule.suite, key_id(self.spki),
                                          shown, expires, self.schedule.key(b"resumption")))
        return replace(verdict, ticket=ticket, ticket_expires=expires)

    def on_client_login(self, received: bytes) -> tuple[bytes, Session | Refused]:
        """The verdict's frame, and the session or the reason why there is none: that is for the log alone."""
        r, modulus = Reader(received[3:], "L2"), self.key.public_key().public_numbers().n
        try:
            ciphertext, sealed = r.blob(), r.blob()
            r.end()
            require(len(ciphertext) == (modulus.bit_length() + 7) // 8, "L3", "length of the RSA ciphertext")
            require(int.from_bytes(ciphertext, "big") < modulus, "L3", "RSA ciphertext above the modulus")
            length = len(sealed) - TAG
            require(length % BLOCK == 0 and BLOCK <= length <= MAX_PADDED, "L4", "length of the sealed credential")
        except Refused as why:
            return self.refuse(received, why)
        rsa_secret, reason = self.unwrap(ciphertext)
        self.schedule.mix(rsa_secret, self.exchange_secret)
        self.schedule.add(received[:5 + len(ciphertext)])  # transcript_r
        credential = self.stand_in
        try:
            opened = Credential.decode_padded(self.schedule.open(b"credential", sealed, "L7"))
            require(opened.kind in self.kinds, "L9", "a kind that is not taken")
            credential = opened
        except Refused as why:
            reason = reason or why
        self.schedule.add(received[5 + len(ciphertext):])  # transcript_3
        verdict = self.verify(credential)
        if reason or not verdict:
            return self.reject(), reason or Refused("L10", "the credential is not good")
        verdict = self.with_ticket(verdict)
        answer = frame(SERVER_VERDICT, self.schedule.seal(b"verdict", verdict.encode_padded()))
        self.schedule.add(answer)
        self.session = Session(self.schedule, verdict, is_client=False)
        return answer, self.session

    def unwrap(self, ciphertext: bytes) -> tuple[bytes, Optional[Refused]]:
        """Implicit rejection: rsa_secret, or the fallback in its place."""
        try:
            plain = self.key.decrypt(ciphertext, OAEP)
        except ValueError:
            plain = b""
        good = (len(plain) == 64) & hmac.compare_digest(plain[32:], self.schedule.transcript())
        mask = 255 * good
        secret = bytes(p & mask | f & ~mask & 255 for p, f in zip(plain[:32].ljust(32, b"\0"), self.draws.fallback))
        return secret, None if good else Refused("L6", "the RSA ciphertext does not decrypt to this challenge")

    def refuse(self, received: bytes, why: Refused) -> tuple[bytes, Refused]:
        """L1 to L5, before the RSA operation; `received` is the frame as far as it came."""
        self.schedule.mix(self.draws.fallback, self.exchange_secret)
        self.schedule.add(received)
        return self.reject(), why

    def reject(self) -> bytes:
        return frame(SERVER_VERDICT, self.schedule.seal(b"verdict", Verdict(False).encode_padded()))
