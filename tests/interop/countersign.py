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
import secrets
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
 SERVER_RESUMPTION, BUSY, CONFIRM) = range(1, 11)
BODY = {CLIENT_HELLO: (53, 6276), SERVER_HELLO: (84, 19132), CLIENT_LOGIN: (4, 5652), SERVER_VERDICT: (2064, 2064),
        DATA: (17, 16400), KEY_UPDATE: (16, 16), CLOSE: (16, 16), SERVER_RESUMPTION: (2103, 20023), BUSY: (3, 1027),
        CONFIRM: (16, 16)}
RSA_ALONE, RSA_X25519, RSA_X25519MLKEM768 = 1, 2, 3
Aead = type[AESGCM] | type[ChaCha20Poly1305]
AEADS: dict[int, Aead] = {0x0101: AESGCM, 0x0102: ChaCha20Poly1305, 0x0201: AESGCM, 0x0202: ChaCha20Poly1305,
                          0x0301: AESGCM, 0x0302: ChaCha20Poly1305}
FORWARD_SECRET = (0x0301, 0x0302, 0x0201, 0x0202)
PASSWORD, TOKEN = 1, 2
REJECT, ACCEPT, NOT_NOW = 0, 1, 2
TAG, BLOCK, MAX_PADDED, VERDICT_SIZE, MAX_DATA, MAX_FRAMES = 16, 256, 4608, 2048, 16384, 2 ** 24
MAX_TICKET, MAX_GRANT, BINDER, PROOF = 500, 1024, 32, 32
# The bytes that the extensions of a message may have together.
CLIENT_EXTENSIONS, SERVER_EXTENSIONS, VERDICT_EXTENSIONS, BUSY_EXTENSIONS = 1024, 16384, 480, 1024
RESERVED = [n << 8 | n for n in range(0x0a, 0x100, 0x10)]  # extensions that will never mean anything
WEEK, SKEW = 7 * 24 * 3600, 60  # seconds
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
T = TypeVar("T")


class Refused(Exception):
    """A MUST of PROTOCOL.md was broken; `rule` is its number there. `retry_after`, in seconds, is of a Busy alone."""

    def __init__(self, rule: str, why: str, retry_after: Optional[int] = None):
        super().__init__(f"{rule}: {why}")
        self.rule, self.retry_after = rule, retry_after


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

    def extensions(self, most: int, twice: str, long: str) -> Extensions:
        """Refused by rule `twice` if they name a number twice, and by `long` if they are over `most` bytes."""
        start = self.at + 1
        extensions = self.items(16, lambda: (self.number(2), self.blob()))
        require(unique([number for number, _ in extensions]), twice, "an extension named twice")
        require(self.at - start <= most, long, "the extensions are too long")
        return extensions

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

Extensions = list[tuple[int, bytes]]


def extended(extensions: Extensions) -> bytes:
    return listed(u16(number) + lp(data) for number, data in extensions)


@dataclass
class ClientHello:
    versions: list[int]
    suites: list[int]
    nonce: bytes
    key_shares: list[tuple[int, bytes]]
    server_name: str
    known_keys: list[bytes]
    context: bytes
    ticket: bytes = b""
    extensions: Extensions = field(default_factory=list)
    rsa_ciphertext: bytes = b""
    binder: bytes = b""

    def encode(self) -> bytes:
        return (listed(map(u16, self.versions)) + listed(map(u16, self.suites)) + self.nonce
                + listed(u8(exchange) + lp(share) for exchange, share in self.key_shares)
                + lp(self.server_name.encode()) + listed(self.known_keys) + self.context + lp(self.ticket)
                + extended(self.extensions) + lp(self.rsa_ciphertext) + lp(self.binder))

    @classmethod
    def decode(cls, body: bytes) -> ClientHello:
        r = Reader(body, "S2")
        hello = cls(r.items(8, lambda: r.number(2)), r.items(16, lambda: r.number(2)), r.take(32),
                    r.items(4, lambda: (r.number(1), r.blob())), r.text(), r.items(8, lambda: r.take(32)),
                    r.take(8), r.blob(), r.extensions(CLIENT_EXTENSIONS, "S4", "S13"), r.blob(), r.blob())
        r.end()
        require(bool(hello.versions and hello.suites), "S3", "empty versions or suites")
        exchanges = [exchange for exchange, _ in hello.key_shares]
        for entries in (hello.versions, hello.suites, exchanges, hello.known_keys):
            require(unique(entries), "S4", "an entry named twice")
        require(set(exchanges) == {s >> 8 for s in hello.suites} - {RSA_ALONE}, "S5", "shares do not match the suites")
        require(is_visible(hello.server_name, 0, 255), "S6", "server name")
        require(len(hello.ticket) <= MAX_TICKET, "S11", "length of the ticket")
        require(len(hello.binder) == (BINDER if hello.ticket else 0), "S11", "length of the binder")
        require(bool(hello.known_keys) or not hello.rsa_ciphertext, "S14", "a ciphertext for no key")
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
    context: bytes
    extensions: Extensions = field(default_factory=list)
    proof: bytes = b""

    def encode(self) -> bytes:
        return (u16(self.version) + u16(self.suite) + self.nonce + self.key_id + lp(self.spki) + lp(self.key_share)
                + listed(map(u8, self.credential_kinds)) + self.context + extended(self.extensions) + lp(self.proof))

    @classmethod
    def decode(cls, body: bytes) -> ServerHello:
        r = Reader(body, "C2")
        hello = cls(r.number(2), r.number(2), r.take(32), r.take(32), r.blob(), r.blob(),
                    r.items(8, lambda: r.number(1)), r.take(8), r.extensions(SERVER_EXTENSIONS, "C13", "C13"),
                    r.blob())
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
    decision: int
    principal: str = ""
    permissions: list[str] = field(default_factory=list)
    ticket: bytes = b""
    ticket_lifetime: int = 0
    extensions: Extensions = field(default_factory=list)

    def encode(self) -> bytes:
        return (u8(self.decision) + lp(self.principal.encode()) + listed(lp(p.encode()) for p in self.permissions)
                + lp(self.ticket) + u64(self.ticket_lifetime) + extended(self.extensions))

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
        ticket, lifetime, extensions = r.blob(), r.number(8), r.extensions(VERDICT_EXTENSIONS, rule, rule)
        r.zeros()
        require(decision in (REJECT, ACCEPT, NOT_NOW), rule, "decision")
        if decision == ACCEPT:
            require(is_name(principal), rule, "principal")
            require(unique(permissions), rule, "a permission named twice")
            require(all(is_visible(p, 1, 64) and "," not in p for p in permissions), rule, "permissions")
            require(len(ticket) <= MAX_TICKET, rule, "length of the ticket")
        else:
            require(not principal and not permissions and not ticket, rule, "no accept, and yet it grants something")
        require(bool(ticket) == bool(lifetime), rule, "the ticket's lifetime")
        return cls(decision, principal, permissions, ticket, lifetime, extensions)


@dataclass
class ServerResumption:
    version: int
    suite: int
    nonce: bytes
    key_share: bytes
    sealed_verdict: bytes
    extensions: Extensions = field(default_factory=list)

    def encode(self) -> bytes:
        return (u16(self.version) + u16(self.suite) + self.nonce + lp(self.key_share) + extended(self.extensions)
                + self.sealed_verdict)

    @classmethod
    def decode(cls, body: bytes) -> ServerResumption:
        r = Reader(body, "A2")
        version, suite, nonce, share = r.number(2), r.number(2), r.take(32), r.blob()
        extensions = r.extensions(SERVER_EXTENSIONS, "A2", "A2")
        answer = cls(version, suite, nonce, share, r.take(VERDICT_SIZE + TAG), extensions)
        r.end()
        return answer


@dataclass
class Busy:
    retry_after: int  # seconds
    extensions: Extensions = field(default_factory=list)

    def encode(self) -> bytes:
        return u16(self.retry_after) + extended(self.extensions)

    @classmethod
    def decode(cls, body: bytes, rule: str) -> Busy:
        r = Reader(body, rule)
        busy = cls(r.number(2), r.extensions(BUSY_EXTENSIONS, rule, rule))
        r.end()
        return busy


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


def context(prologue: bytes, binding: tuple[str, bytes]) -> bytes:
    about_prologue = lp(b"countersign v1 prologue") + lp(prologue)
    about_binding = lp(b"countersign v1 binding") + lp(binding[0].encode()) + lp(binding[1])
    return hashlib.sha256(about_prologue).digest()[:4] + hashlib.sha256(about_binding).digest()[:4]


def transcript_h(seed_: bytes, hello: bytes) -> bytes:
    """What stands beside the secret in the rsa_ciphertext of this ClientHello, a whole frame."""
    decoded = ClientHello.decode(hello[3:])
    return hashlib.sha256(seed_ + hello[:-2 - len(decoded.rsa_ciphertext) - 2 - len(decoded.binder)]).digest()


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
        self.aead, self.closed = aead, False
        self.use(secret)

    def use(self, secret: bytes) -> None:
        self.secret, self.n = secret, 0
        self.key, self.iv = expand(secret, b"key", b"", 32), expand(secret, b"iv", b"", 12)
        self.cipher = self.aead(self.key)

    def nonce(self) -> bytes:
        return bytes(a ^ b for a, b in zip(self.iv, self.n.to_bytes(12, "big")))

    def step(self, kind: int) -> None:
        self.n += 1
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
    """What a client keeps of a login for the next one. The secret is to be kept as a password is. Times are by the
    client's own clock, in seconds since 1970."""

    ticket: bytes
    secret: bytes
    suite: int
    key_id: bytes
    server_name: str
    credential: tuple[int, str]  # its kind, and the user: whom it is shown for
    lifetime: int  # seconds from `received`
    received: int
    began: int  # when the credential was shown that its chain began with
    shown: bool = False

    def may_be_shown(self, now: int) -> bool:
        return (not self.shown and 0 <= now - self.received < self.lifetime and 0 <= now - self.began <= WEEK)


class Session:
    """What an accepted login leaves at either end. The schedule has all its frames by now: transcript_4."""

    def __init__(self, schedule: Schedule, verdict: Verdict, is_client: bool, resumed: bool = False,
                 ticket: Optional[Ticket] = None):
        self.verdict, self.resumed, self.ticket = verdict, resumed, ticket
        self.session_id, self.exporter = schedule.key(b"session id", 16), schedule.key(b"exporter")
        client = Direction(schedule.aead, schedule.key(b"client traffic"))
        server = Direction(schedule.aead, schedule.key(b"server traffic"))
        self.outgoing, self.incoming = (client, server) if is_client else (server, client)

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


def now_and_then() -> Extensions:
    """In one hello of eight an extension that nobody may understand, so that its skipping is exercised."""
    return [(secrets.choice(RESERVED), b"")] if secrets.randbelow(8) == 0 else []


@dataclass
class Draws:
    """What one end draws for one handshake, but for OAEP's seed. Only tests give any of it."""

    nonce: bytes = field(default_factory=fresh)
    exchanges: dict[int, list[bytes]] = field(default_factory=fresh_parts)  # for each key exchange, that of its parts
    rsa_secret: bytes = field(default_factory=fresh)  # the client's, for its ClientHello
    login_secret: bytes = field(default_factory=fresh)  # the client's, for its ClientLogin
    fallback: bytes = field(default_factory=fresh)  # the server's
    extensions: Extensions = field(default_factory=now_and_then)


class Client:
    """One handshake: hello() -> on_server_hello() -> on_verdict(), or, if `ticket` is still set after hello() and a
    ServerResumption comes, hello() -> on_server_resumption(). Each takes and gives whole frames.

    `known_keys` are keys trusted for this server; with one the server must prove itself, unless `without_proof`. A
    ticket is shown only where a credential would be sent, and once; otherwise it is as if none had been given. `seals`
    sends an rsa_ciphertext beside it. After on_server_hello(), `told` is the server's key, to keep if it is trusted.
    """

    def __init__(self, credential: Credential, pins: Iterable[bytes] = (), known_keys: Iterable[bytes] = (),
                 suites: Iterable[int] = FORWARD_SECRET, weakest_exchange: int = RSA_X25519, server_name: str = "",
                 prologue: bytes = b"", binding: tuple[str, bytes] = ("", b""), draws: Optional[Draws] = None,
                 ticket: Optional[Ticket] = None, seals: bool = False, without_proof: bool = False,
                 clock: Callable[[], float] = time.time):
        self.plaintext, self.kind = credential.encode_padded(), credential.kind
        Credential.decode_padded(self.plaintext)  # its bounds hold for us, too
        self.whose = credential.kind, credential.user
        self.known = {key_id(spki): spki for spki in known_keys}
        self.pins = {*pins, *self.known}
        self.suites, self.weakest, self.server_name = list(suites), weakest_exchange, server_name
        self.prologue, self.binding, self.draws = prologue, binding, draws or Draws()
        self.seals, self.without_proof, self.clock = seals, without_proof, clock
        self.told, self.sealed_to = b"", b""
        shown = ticket and (ticket.key_id in self.pins and ticket.suite >> 8 >= self.weakest
                            and ticket.suite in self.suites and ticket.server_name == server_name
                            and ticket.credential == self.whose and ticket.may_be_shown(self.now()))
        self.ticket = ticket if shown else None

    def now(self) -> int:
        return int(self.clock())

    def hello(self) -> bytes:
        exchanges = sorted({suite >> 8 for suite in self.suites} - {RSA_ALONE})
        shares = [(exchange, client_share(exchange, self.draws.exchanges[exchange])) for exchange in exchanges]
        known, start = list(self.known), seed(self.prologue, self.binding)
        if self.ticket and self.ticket.key_id in self.known:  # a server opens the ciphertext under this key alone
            known = [self.ticket.key_id] + [id_ for id_ in known if id_ != self.ticket.key_id]
        hello = ClientHello([VERSION], self.suites, self.draws.nonce, shares, self.server_name, known,
                            context(self.prologue, self.binding), extensions=self.draws.extensions)
        if self.ticket:
            self.ticket.shown = True
            hello.ticket, hello.binder = self.ticket.ticket, bytes(BINDER)
        if known and (self.seals or not self.ticket):
            key, self.sealed_to = server_key(self.known[known[0]]), known[0]
            hello.rsa_ciphertext = bytes((key.key_size + 7) // 8)
            unsealed = frame(CLIENT_HELLO, hello.encode())
            hello.rsa_ciphertext = self.wrap(key, self.draws.rsa_secret + transcript_h(start, unsealed))
        if self.ticket:
            hello.binder = binder(self.ticket.secret, start, frame(CLIENT_HELLO, hello.encode()))
        body = hello.encode()
        ClientHello.decode(body)
        self.sent = frame(CLIENT_HELLO, body)
        return self.sent

    def on_busy(self, received: bytes) -> Refused:
        """Anybody on the way can have said it."""
        rule = "A8" if self.ticket else "C14"
        busy = Busy.decode(received[3:], rule)
        return Refused(rule, "somebody says that the server is busy", busy.retry_after)

    def on_server_resumption(self, received: bytes) -> tuple[bytes, Session]:
        """The Confirm, and the session."""
        assert self.ticket
        answer = ServerResumption.decode(received[3:])
        require(answer.version == VERSION, "A3", "a version that was not offered")
        require(answer.suite == self.ticket.suite, "A3", "a suite that is not the ticket's")
        exchange_secret = self.exchange(answer.suite, answer.key_share, "A4")
        head = received[:-len(answer.sealed_verdict)]
        self.schedule = Schedule(answer.suite, self.prologue, self.binding, self.sent + head)  # transcript_3
        rsa_secret = self.draws.rsa_secret if self.sealed_to else bytes(32)
        self.schedule.mix(rsa_secret, exchange_secret, self.ticket.secret)
        verdict = Verdict.decode_padded(self.schedule.open(b"verdict", answer.sealed_verdict, "A5"), "A6")
        require(verdict.decision == ACCEPT, "A6", "no accept")
        session = self.accepted(verdict, answer.sealed_verdict, self.ticket.key_id, self.ticket)
        return frame(CONFIRM, self.schedule.seal(b"confirm", b"")), session

    def exchange(self, suite: int, share: bytes, rule: str) -> bytes:
        """exchange_secret."""
        return client_exchange(suite >> 8, self.draws.exchanges[suite >> 8], share, rule)

    def accepted(self, verdict: Verdict, sealed: bytes, id_: bytes, by: Optional[Ticket]) -> Session:
        """The schedule is at transcript_3; what it lacks of transcript_4 is `sealed`."""
        secret, ticket, now = self.schedule.key(b"resumption"), None, self.now()
        if verdict.ticket:
            ticket = Ticket(verdict.ticket, secret, self.schedule.suite, id_, self.server_name, self.whose,
                            verdict.ticket_lifetime, now, by.began if by else now)
        self.schedule.add(sealed)
        return Session(self.schedule, verdict, True, by is not None, ticket)

    def on_server_hello(self, received: bytes) -> bytes:
        hello = ServerHello.decode(received[3:])
        require(hello.version == VERSION, "C3", "a version that was not offered")
        require(hello.suite in self.suites, "C4", "a suite that was not offered")
        require(bool(hello.credential_kinds) and unique(hello.credential_kinds), "C5", "credential kinds")
        ours = context(self.prologue, self.binding)
        require(hello.context[:4] == ours[:4], "C11", "the server has another prologue")
        require(hello.context[4:] == ours[4:], "C11", "the server has another channel binding")
        require(bool(hello.spki) or hello.key_id in self.known, "C6", "no key, and it was not listed")
        spki = hello.spki or self.known[hello.key_id]
        key = server_key(spki)
        require(key_id(spki) == hello.key_id, "C8", "the key id is not that of the key")
        self.told = spki
        exchange_secret = self.exchange(hello.suite, hello.key_share, "C9")
        require(hello.key_id in self.pins, "T1", f"the server's key {fingerprint(hello.key_id)} is not trusted")
        require(hello.suite >> 8 >= self.weakest, "T2", "a weaker key exchange than the floor")
        require(self.kind in hello.credential_kinds, "T3", "the server does not take such a credential")
        require(bool(hello.proof) or not self.known or self.without_proof, "T4", "the server does not prove itself")
        self.key_id = hello.key_id

        end = len(received) - 2 - len(hello.proof)
        self.schedule = Schedule(hello.suite, self.prologue, self.binding, self.sent + received[:end])  # transcript_p
        if hello.proof:
            require(self.sealed_to == hello.key_id, "C12", "nothing was sealed to this key")
            self.schedule.mix(self.draws.rsa_secret, exchange_secret)
            require(self.is_proof(hello.proof), "C12", "the proof is wrong")
        self.schedule.add(received[end:])  # transcript_2
        wrapped = lp(b"")
        if not hello.proof:
            self.schedule.mix(self.draws.login_secret, exchange_secret)
            wrapped = lp(self.wrap(key, self.draws.login_secret + self.schedule.transcript()))
        # The header counts the sealed credential and goes into its key, so the length is computed before the sealing.
        head = u8(CLIENT_LOGIN) + u16(len(wrapped) + 2 + len(self.plaintext) + TAG) + wrapped
        self.schedule.add(head)  # transcript_r
        sealed = lp(self.schedule.seal(b"credential", self.plaintext))
        self.schedule.add(sealed)  # transcript_3
        return head + sealed

    def is_proof(self, proof: bytes) -> bool:
        """The schedule is at transcript_p."""
        return hmac.compare_digest(proof, self.schedule.key(b"proof"))

    def wrap(self, key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
        return key.encrypt(plaintext, OAEP)

    def on_verdict(self, received: bytes) -> Session:
        verdict = Verdict.decode_padded(self.schedule.open(b"verdict", received[3:], "V2"))
        require(verdict.decision != REJECT, "V4", "the server rejected the credential")
        require(verdict.decision != NOT_NOW, "V6", "the server can't decide now")
        return self.accepted(verdict, received, self.key_id, None)


@dataclass
class Account:
    """What a server knows of a principal that may log in now. The epoch is another whenever the account has changed."""

    epoch: int
    permissions: list[str]


@dataclass
class Sealed:
    """What is in a ticket of this server's. Times are in seconds since 1970."""

    principal: str
    epoch: int
    suite: int
    key_id: bytes
    place: bytes  # the hash of the server name and the prologue
    kind: int  # of the credential that the chain began with
    began: int  # when that was shown
    chain: bytes  # 16 random bytes, the same in the whole chain
    chain_key: bytes  # the name of the ticket key that the chain's first ticket was sealed under
    made: int
    expires: int
    secret: bytes


def place(server_name: str, prologue: bytes) -> bytes:
    return hashlib.sha256(lp(server_name.encode()) + lp(prologue)).digest()


class Tickets:
    """Seals and opens the tickets of one server, or of several that share the keys. All have 448 bytes.

    `lifetime` is of one ticket, `chain_lifetime` from the credential on, both in seconds. rotate() makes a new ticket
    key; tickets under the `kept` newest open.
    """

    NAME = 8

    def __init__(self, lifetime: int = 3600, single_use: bool = True, clock: Callable[[], float] = time.time,
                 chain_lifetime: int = WEEK, kept: int = 2):
        self.lifetime, self.chain_lifetime, self.single_use, self.clock = lifetime, chain_lifetime, single_use, clock
        self.kept, self.latest = kept, 0
        self.keys: list[tuple[bytes, AESGCM]] = []  # the newest first, with their names
        self.used: dict[bytes, list[tuple[bytes, int]]] = {}  # by chain: the tickets, and when
        self.rotate()

    def rotate(self) -> None:
        self.keys = [(os.urandom(self.NAME), AESGCM(fresh()))] + self.keys[:self.kept - 1]

    def now(self) -> int:
        """The clock, but it never goes back: that would make good again what was not."""
        self.latest = max(self.latest, int(self.clock()))
        return self.latest

    def age(self, name: bytes) -> Optional[int]:
        """How many keys are newer than the one of this name; None: it opens no tickets any more."""
        return next((at for at, (other, _) in enumerate(self.keys) if other == name), None)

    def begin(self, principal: str, epoch: int, suite: int, id_: bytes, place_: bytes, kind: int) -> Sealed:
        now = self.now()
        return Sealed(principal, epoch, suite, id_, place_, kind, now, os.urandom(16), self.keys[0][0], now, now, b"")

    def renew(self, of: Sealed, secret: bytes) -> tuple[bytes, int]:
        """The next ticket of the chain and its lifetime; of no ticket it is 0."""
        now = self.now()
        expires = min(now + self.lifetime, of.began + self.chain_lifetime)
        if expires <= now:
            return b"", 0
        return self.seal(replace(of, made=now, expires=expires, secret=secret)), expires - now

    def seal(self, of: Sealed) -> bytes:
        (name, cipher), nonce = self.keys[0], os.urandom(12)
        state = (u64(of.epoch) + u16(of.suite) + of.key_id + of.place + u8(of.kind) + u64(of.began) + of.chain
                 + of.chain_key + u64(of.made) + u64(of.expires) + of.secret
                 + lp(of.principal.encode()).ljust(2 + 255, b"\0"))
        return name + nonce + cipher.encrypt(nonce, state, name)

    def open(self, ticket: bytes) -> Sealed:
        name, nonce, sealed = ticket[:self.NAME], ticket[self.NAME:self.NAME + 12], ticket[self.NAME + 12:]
        age = self.age(name)
        if age is None or len(sealed) < TAG:
            raise Refused("K1", "not under a ticket key of ours")
        try:
            r = Reader(self.keys[age][1].decrypt(nonce, sealed, name), "K1")
        except InvalidTag:
            raise Refused("K1", "not a ticket of ours") from None
        epoch, suite, id_, place_, kind, began = (r.number(8), r.number(2), r.take(32), r.take(32), r.number(1),
                                                  r.number(8))
        chain, chain_key, made, expires, secret = r.take(16), r.take(self.NAME), r.number(8), r.number(8), r.take(32)
        opened = Sealed(r.text(), epoch, suite, id_, place_, kind, began, chain, chain_key, made, expires, secret)
        r.zeros()
        return opened

    def check_times(self, of: Sealed) -> None:
        now = self.now()
        require(now < of.expires, "K2", "it has expired")
        require(now < of.began + self.chain_lifetime, "K2", "its chain is too old")
        require(max(of.began, of.made) <= now + SKEW, "K2", "it is from the future")

    def check_chain(self, ticket: bytes, of: Sealed) -> None:
        own, began = self.age(ticket[:self.NAME]), self.age(of.chain_key)
        if own is None or began is None or began < own:
            raise Refused("K10", "the ticket key that its chain began under")

    def use(self, ticket: bytes, of: Sealed) -> None:
        """K6. Only for a ticket that is good otherwise, or anybody could use it up."""
        if not self.single_use:
            return
        used = self.used.setdefault(of.chain, [])
        require(all(other != ticket and at <= of.made for other, at in used), "K6", "it or its chain was used since")
        used.append((ticket, self.now()))


Verify = Callable[[Credential], Optional[Verdict]]
FindAccount = Callable[[str], Optional[Account]]


class Server:
    """One handshake: on_client_hello() -> on_client_login(), or refuse() for a login that never came whole.

    `verify` gives the accepting verdict for a credential, or None, or whatever the credential a Verdict(NOT_NOW); it
    must cost the same whomever a credential names. `names` are those that the server goes by, None: any. `busy` is
    after how many seconds to try again; `proves` is whether it opens what is in a ClientHello.

    on_client_hello() may end the handshake with what it gives: `ended` says why then. With `tickets`, and `account`
    for what is known of a principal now, it may give a ServerResumption: on_confirm() comes next if `resumes`.
    `not_taken` says why a ticket was not taken, `reason` why a credential was not; both are for the log alone.
    """

    def __init__(self, key: rsa.RSAPrivateKey, verify: Verify, suites: Iterable[int] = FORWARD_SECRET,
                 kinds: Iterable[int] = (PASSWORD, TOKEN), prologue: bytes = b"",
                 binding: tuple[str, bytes] = ("", b""), draws: Optional[Draws] = None,
                 tickets: Optional[Tickets] = None, account: FindAccount = lambda principal: None,
                 names: Optional[Iterable[str]] = (), busy: Optional[int] = None, proves: bool = True):
        self.key, self.verify, self.suites, self.kinds = key, verify, list(suites), list(kinds)
        self.prologue, self.binding, self.draws = prologue, binding, draws or Draws()
        self.tickets, self.account, self.busy, self.proves = tickets, account, busy, proves
        self.names = None if names is None else set(names)
        self.resumes: Optional[Session] = None
        self.not_taken: Optional[Refused] = None
        self.ended: Optional[Refused] = None
        self.reason: Optional[Refused] = None
        self.proved = False
        self.spki = spki_of(key.public_key())
        server_key(self.spki)
        # What is verified where no credential came out: of the first kind taken, with a name that no account can have.
        self.stand_in = Credential(self.kinds[0], "\0" if self.kinds[0] == PASSWORD else "", fresh())

    def on_client_hello(self, received: bytes) -> bytes:
        hello = ClientHello.decode(received[3:])
        require(VERSION in hello.versions, "S7", "no version in common")
        common = [suite for suite in self.suites if suite in hello.suites]
        require(bool(common), "S8", "no suite in common")
        self.server_name, id_ = hello.server_name, key_id(self.spki)
        require(self.names is None or self.server_name in self.names or not self.server_name, "S12",
                "a name that we do not go by")
        ours = bool(hello.rsa_ciphertext) and hello.known_keys[0] == self.opens_under()
        if ours:
            self.check_ciphertext(hello.rsa_ciphertext, "S15")
        opens = ours and self.proves
        if self.busy is not None:
            self.ended = Refused("busy", "no room")
            return frame(BUSY, Busy(self.busy).encode())
        own_context = context(self.prologue, self.binding)
        if hello.context != own_context:
            self.ended = Refused("context", "the client has another prologue or channel binding")
            opens = False
        if hello.ticket and self.tickets:
            try:
                sealed, account = self.take(self.tickets, hello, opens, received)
            except Refused as why:
                self.not_taken = why
            else:
                return self.resume(sealed, account, hello, received)
        suite = common[0]
        share, self.exchange_secret = self.exchange(suite, hello)
        spki = b"" if id_ in hello.known_keys else self.spki
        answer = ServerHello(VERSION, suite, self.draws.nonce, id_, spki, share, self.kinds, own_context,
                             self.draws.extensions, bytes(PROOF if opens else 0))
        data = frame(SERVER_HELLO, answer.encode())
        end = len(data) - 2 - len(answer.proof)
        self.schedule = Schedule(suite, self.prologue, self.binding, received + data[:end])  # transcript_p
        self.proved = opens
        if opens:
            self.schedule.mix(self.unwrap_hello(hello, received), self.exchange_secret)
            data = data[:end] + lp(self.schedule.key(b"proof"))
        self.schedule.add(data[end:])  # transcript_2
        return data

    def opens_under(self) -> bytes:
        """The id of the key that opens what is in a ClientHello."""
        return key_id(self.spki)

    def unwrap_hello(self, hello: ClientHello, received: bytes) -> bytes:
        start = seed(self.prologue, self.binding)
        secret, self.reason = self.unwrap(hello.rsa_ciphertext, transcript_h(start, received))
        return secret

    def exchange(self, suite: int, hello: ClientHello) -> tuple[bytes, bytes]:
        """The server's share, and exchange_secret."""
        share = dict(hello.key_shares).get(suite >> 8, b"")  # none for RSA alone
        return server_exchange(suite >> 8, self.draws.exchanges[suite >> 8], share, "S9")

    def take(self, tickets: Tickets, hello: ClientHello, opens: bool, received: bytes) -> tuple[Sealed, Account]:
        """What is in a good ticket, and the account as it is now. Who breaks a rule goes on with a ServerHello."""
        require(hello.context == context(self.prologue, self.binding), "K11", "another context")
        sealed = tickets.open(hello.ticket)
        wanted = binder(sealed.secret, seed(self.prologue, self.binding), received)
        require(hmac.compare_digest(hello.binder, wanted), "K3", "the binder is another")
        tickets.check_times(sealed)
        require(sealed.suite in hello.suites and sealed.suite in self.suites, "K4", "its suite")
        require(sealed.key_id == key_id(self.spki), "K5", "from a login under another key")
        require(sealed.place == place(self.server_name, self.prologue), "K8", "of another server name or prologue")
        require(sealed.kind in self.kinds, "K9", "a kind of credential that is not taken now")
        tickets.check_chain(hello.ticket, sealed)
        require(opens or not hello.rsa_ciphertext, "not opened", "the ciphertext beside it")
        tickets.use(hello.ticket, sealed)
        account = self.account(sealed.principal)
        if not account or account.epoch != sealed.epoch:
            raise Refused("K7", "the account is gone or has changed")
        return sealed, account

    def resume(self, sealed: Sealed, account: Account, hello: ClientHello, received: bytes) -> bytes:
        share, exchange_secret = self.exchange(sealed.suite, hello)
        answer = ServerResumption(VERSION, sealed.suite, self.draws.nonce, share, bytes(VERDICT_SIZE + TAG),
                                  self.draws.extensions)
        head = frame(SERVER_RESUMPTION, answer.encode())[:-len(answer.sealed_verdict)]
        self.schedule = Schedule(sealed.suite, self.prologue, self.binding, received + head)  # transcript_3
        rsa_secret = self.unwrap_hello(hello, received) if hello.rsa_ciphertext else bytes(32)
        self.schedule.mix(rsa_secret, exchange_secret, sealed.secret)
        verdict = self.with_ticket(Verdict(ACCEPT, sealed.principal, account.permissions), sealed.kind, sealed)
        sealed_verdict = self.seal(verdict)
        self.schedule.add(sealed_verdict)
        self.resumes = Session(self.schedule, verdict, is_client=False, resumed=True)
        return head + sealed_verdict

    def on_confirm(self, received: bytes) -> Session:
        """The session: the client is there."""
        assert self.resumes
        self.schedule.open(b"confirm", received[3:], "F2")
        return self.resumes

    def with_ticket(self, verdict: Verdict, kind: int, of: Optional[Sealed] = None) -> Verdict:
        """The verdict with a ticket, if there are any and the principal has an account. For transcript_3."""
        account = self.account(verdict.principal)
        if not self.tickets or not account:
            return verdict
        of = of or self.tickets.begin(verdict.principal, account.epoch, self.schedule.suite, key_id(self.spki),
                                      place(self.server_name, self.prologue), kind)
        ticket, lifetime = self.tickets.renew(of, self.schedule.key(b"resumption"))
        return replace(verdict, ticket=ticket, ticket_lifetime=lifetime)

    def check_ciphertext(self, ciphertext: bytes, rule: str) -> None:
        modulus = self.key.public_key().public_numbers().n
        require(len(ciphertext) == (modulus.bit_length() + 7) // 8, rule, "length of the RSA ciphertext")
        require(int.from_bytes(ciphertext, "big") < modulus, rule, "RSA ciphertext above the modulus")

    def on_client_login(self, received: bytes) -> tuple[bytes, Session | Refused]:
        """The verdict's frame, and the session or the reason why there is none: that is for the log alone."""
        r = Reader(received[3:], "L2")
        try:
            ciphertext, sealed = r.blob(), r.blob()
            r.end()
            if self.proved:
                require(not ciphertext, "L3", "a second RSA ciphertext")
            else:
                self.check_ciphertext(ciphertext, "L3")
            length = len(sealed) - TAG
            require(length % BLOCK == 0 and BLOCK <= length <= MAX_PADDED, "L4", "length of the sealed credential")
        except Refused as why:
            return self.refuse(received, why)
        if not self.proved:
            rsa_secret, self.reason = self.unwrap(ciphertext, self.schedule.transcript())
            self.schedule.mix(rsa_secret, self.exchange_secret)
        self.schedule.add(received[:5 + len(ciphertext)])  # transcript_r
        credential, reason = self.stand_in, self.reason
        try:
            opened = Credential.decode_padded(self.schedule.open(b"credential", sealed, "L7"))
            require(opened.kind in self.kinds, "L9", "a kind that is not taken")
            credential = opened
        except Refused as why:
            reason = reason or why
        self.schedule.add(received[5 + len(ciphertext):])  # transcript_3
        verdict = self.verify(credential)
        if verdict and verdict.decision == NOT_NOW:
            return self.answer(verdict), Refused("not now", "we can't decide")
        if reason or not verdict:
            return self.answer(Verdict(REJECT)), reason or Refused("L10", "the credential is not good")
        verdict = self.with_ticket(verdict, credential.kind)
        answer = self.answer(verdict)
        self.schedule.add(answer)
        return answer, Session(self.schedule, verdict, is_client=False)

    def unwrap(self, ciphertext: bytes, transcript: bytes) -> tuple[bytes, Optional[Refused]]:
        """Implicit rejection: rsa_secret, or the fallback in its place."""
        try:
            plain = self.key.decrypt(ciphertext, OAEP)
        except ValueError:
            plain = b""
        good = (len(plain) == 64) & hmac.compare_digest(plain[32:], transcript)
        mask = 255 * good
        secret = bytes(p & mask | f & ~mask & 255 for p, f in zip(plain[:32].ljust(32, b"\0"), self.draws.fallback))
        return secret, None if good else Refused("L6", "the RSA ciphertext does not decrypt to this transcript")

    def refuse(self, received: bytes, why: Refused) -> tuple[bytes, Refused]:
        """L1 to L4, without an RSA operation; `received` is the frame as far as it came. One that was refused by its
        header is not in the transcript."""
        if not self.proved:
            self.schedule.mix(self.draws.fallback, self.exchange_secret)
        if why.rule != "L1":
            self.schedule.add(received)
        return self.answer(Verdict(REJECT)), self.reason or why

    def answer(self, verdict: Verdict) -> bytes:
        return frame(SERVER_VERDICT, self.seal(verdict))

    def seal(self, verdict: Verdict) -> bytes:
        return self.schedule.seal(b"verdict", verdict.encode_padded())
