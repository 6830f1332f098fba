"""The messages of the countersign protocol: each knows its one encoding, and what is out of bounds in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from wire import *


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
        require(credential.kind in (PASSWORD, TOKEN, BY_KEY, STRETCHED), "L8", "kind")
        require(is_name(credential.user) if credential.kind != TOKEN else not credential.user, "L8", "user")
        # A stretched password has room for its values beside the longest password.
        most = 4096 + (1 + 2 * 32 + 2 if credential.kind == STRETCHED else 0)
        require(1 <= len(credential.secret) <= most, "L8", "secret")
        if credential.kind == BY_KEY:
            KeyProof.decode(credential.secret)
        return credential


@dataclass
class KeyProof:
    key: bytes  # the DER of its SubjectPublicKeyInfo
    signature: bytes

    def encode(self) -> bytes:
        return lp(self.key) + lp(self.signature)

    @classmethod
    def decode(cls, data: bytes) -> KeyProof:
        r = Reader(data, "L8")
        proof = cls(r.blob(), r.blob())
        r.end()
        require(len(proof.key) <= MAX_SPKI, "L8", "length of the key")
        return proof


def is_permission(text: str) -> bool:
    front = text[:-1] if text == "*" or text.endswith(":*") else text
    return is_visible(text, 1, 64) and "," not in text and "*" not in front


def permits(permissions: Iterable[str], asked: str) -> bool:
    """Whether one of the permissions covers what is asked for."""
    require(is_permission(asked) and "*" not in asked, "P1", "nothing that can be asked for")
    return any(asked.startswith(held[:-1]) and len(asked) >= len(held) if held.endswith("*") else asked == held
               for held in permissions)


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
        require(decision in (REJECT, ACCEPT, NOT_NOW, FURTHER), rule, "decision")
        if decision == ACCEPT:
            require(is_name(principal), rule, "principal")
            require(unique(permissions), rule, "a permission named twice")
            require(all(is_permission(p) for p in permissions), rule, "permissions")
            require(len(ticket) <= MAX_TICKET, rule, "length of the ticket")
        else:
            require(not principal and not permissions and not ticket, rule, "no accept, and yet it grants something")
        require(bool(ticket) == bool(lifetime), rule, "the ticket's lifetime")
        return cls(decision, principal, permissions, ticket, lifetime, extensions)


@dataclass
class FactorRequest:
    form: int
    prompt: str = ""

    def encode(self) -> bytes:
        return u8(self.form) + lp(self.prompt.encode())

    def verdict(self) -> Verdict:
        return Verdict(FURTHER, extensions=[(FACTORS, self.encode())])

    @classmethod
    def decode(cls, data: bytes) -> FactorRequest:
        r = Reader(data, "V7")
        request = cls(r.number(1), r.text())
        r.end()
        require(request.form in (ONE_TIME_CODE, SHOWN, HIDDEN), "V7", "form")
        require(not request.prompt or is_name(request.prompt), "V7", "prompt")
        return request


@dataclass
class Factor:
    answer: bytes

    def encode_padded(self) -> bytes:
        return lp(self.answer).ljust(FACTOR_SIZE, b"\0")

    @classmethod
    def decode_padded(cls, data: bytes) -> Factor:
        r = Reader(data, "N2")
        factor = cls(r.blob())
        require(1 <= len(factor.answer) <= 256, "N2", "length of the answer")
        r.zeros()
        return factor


def certificate_list(certificates: Iterable[bytes]) -> bytes:
    """What stands in extension 1 of a ServerHello."""
    return listed(map(lp, certificates))


def certificates_of(data: bytes) -> list[bytes]:
    """None, if they are not what should stand there."""
    r = Reader(data, "T1")
    try:
        certificates = r.items(8, r.blob)
        r.end()
    except Refused:
        return []
    return certificates


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
