"""The transcript, the keys that follow from it, records, and the session that an accepted login leaves."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Optional

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from messages import ClientHello, Verdict
from wire import AEADS, BINDER, CLOSE, DATA, KEY_UPDATE, MAX_FRAMES, SKEW, TAG, WEEK, Aead, Refused, lp, require, u8, u16


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
        return (not self.shown and -SKEW <= now - self.received < self.lifetime
                and -SKEW <= now - self.began <= WEEK)


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
