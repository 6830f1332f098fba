#!/usr/bin/env python3
"""The peer's two ends against each other: every mode, and every rule that countersign.py knows, in both roles.

    venv/bin/python tests/interop/selftest.py

run.py runs these cases, too. Where one end must break a rule, a frame is changed between the two, or the end is one
that lies.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # no __pycache__ among the tests

import hashlib
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from cryptography.hazmat.primitives import serialization

import sockets
from countersign import (ACCEPT, AEADS, BINDER, BUSY, CLIENT_HELLO, CLIENT_LOGIN, CONFIRM, DATA, FORWARD_SECRET,
                         KEY_UPDATE, MAX_FRAMES, MAX_TICKET, NOT_NOW, PASSWORD, REJECT, RESERVED, RSA_ALONE,
                         RSA_X25519, RSA_X25519MLKEM768, SERVER_HELLO, SERVER_RESUMPTION, SERVER_VERDICT, SKEW, TAG,
                         TOKEN, VERDICT_SIZE, WEEK, Account, Busy, Client, ClientHello, Credential, Draws, Refused,
                         Server, ServerHello, ServerResumption, Session, Ticket, Tickets, Verdict, binder, context,
                         extended, frame, fresh, key_id, listed, lp, seed, spki_of, u8, u16, u64)
from report import Report, expect, refused
from sockets import Channel, Ended, Stream, login, serve

KEYS = Path(__file__).resolve().parents[1] / "keys"


def key_file(name: str) -> Any:
    return serialization.load_pem_private_key((KEYS / name).read_bytes(), None)


KEY, OTHER = key_file("rsa2048.pem"), key_file("other2048.pem")
SPKI, OTHER_SPKI = spki_of(KEY.public_key()), spki_of(OTHER.public_key())
PIN, OTHER_PIN = key_id(SPKI), key_id(OTHER_SPKI)
USER, SECRET, PERMISSIONS = "alice", b"correct horse battery staple", ["read", "write"]
GOOD, WRONG = Credential(PASSWORD, USER, SECRET), Credential(PASSWORD, USER, b"wrong")
OPAQUE = Credential(TOKEN, "", b"an-opaque-token")
Change = Callable[[bytes], bytes]
Changes = dict[int, Change]


def verify(credential: Credential) -> Optional[Verdict]:
    return Verdict(ACCEPT, USER, PERMISSIONS) if credential in (GOOD, OPAQUE) else None


def not_now(_: Credential) -> Optional[Verdict]:
    return Verdict(NOT_NOW)


# ---- Two ends, and what is between ----------------------------------------------------------------------------------

class Way:
    """One end's socket; frames of these types are changed as they leave."""

    def __init__(self, sock: socket.socket, changes: Changes):
        self.sock, self.changes, self.sent = sock, changes, list[bytes]()

    def sendall(self, data: bytes) -> None:
        if data:
            data = self.changes.get(data[0], lambda same: same)(data)
        self.sent.append(data)
        self.sock.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


End = Channel | Refused | Ended


class Meeting:
    """One handshake over a socket pair. What came of it is at `client` and `server`, and the frames, as they arrived,
    in `up` and `down`. A client that does not get a session hangs up."""

    def __init__(self, client: Client, server: Server, up: Optional[Changes] = None, down: Optional[Changes] = None,
                 late_at_client: int = 0, late_at_server: int = 0):
        near, far = socket.socketpair()
        self.sockets = Way(near, up or {}), Way(far, down or {})
        self.up, self.down = self.sockets[0].sent, self.sockets[1].sent
        self.server: End = Ended("it never came to an end")
        thread = threading.Thread(target=self.attend, args=(server, late(late_at_server)), daemon=True)
        thread.start()
        self.client = self.end(lambda: login(self.sockets[0], client, late(late_at_client)))  # type: ignore[arg-type]
        if not isinstance(self.client, Channel):
            near.close()
        thread.join(20)

    def attend(self, server: Server, streams: type[Stream]) -> None:
        self.server = self.end(lambda: serve(self.sockets[1], server, streams))  # type: ignore[arg-type]
        if not isinstance(self.server, Channel):
            self.sockets[1].close()

    @staticmethod
    def end(step: Callable[[], Channel]) -> End:
        try:
            return step()
        except (Refused, Ended) as why:
            return why

    def came_to(self, client: str, server: str) -> Meeting:
        """What the ends say: `ok`, `ended`, or the number of a rule."""
        expect("the client's and the server's end", (outcome(self.client), outcome(self.server)), (client, server))
        if client == server == "ok":
            self.check_session()
        self.close()
        return self

    def check_session(self) -> None:
        client, server = self.client, self.server
        assert isinstance(client, Channel) and isinstance(server, Channel)
        expect("session ids", client.session.session_id, server.session.session_id)
        expect("exported keys", client.session.export("x", b"y", 48), server.session.export("x", b"y", 48))
        expect("verdicts", client.session.verdict, server.session.verdict)
        client.send(b"to the server")
        expect("data", server.receive(), b"to the server")
        server.update_key()
        server.send(b"to the client")
        server.update_key()
        server.send(b"and again")
        expect("data", [client.receive(), client.receive()], [b"to the client", b"and again"])
        client.stream.write(client.session.outgoing.seal(7))
        expect("the client's Close", server.receive(), None)
        server.stream.write(server.session.outgoing.seal(7))
        expect("the server's Close", client.receive(), None)

    def close(self) -> None:
        for end in self.sockets:
            end.sock.close()

    def ticket(self) -> Ticket:
        assert isinstance(self.client, Channel) and self.client.session.ticket, "no ticket"
        return self.client.session.ticket


def outcome(end: End) -> str:
    return "ok" if isinstance(end, Channel) else "ended" if isinstance(end, Ended) else end.rule


def late(number: int) -> type[Stream]:
    """Streams whose frame of this number, from 1, is whole only after the deadline."""
    class Late(Stream):
        count = 0

        def frame(self, kinds: set[int], rule: str, late_rule: str = "") -> bytes:
            self.count += 1
            return super().frame(kinds, rule, late_rule)

        def read(self, size: int) -> None:
            super().read(size)
            if self.count == number and len(self.received) > 3:
                self.deadline = float("-inf")

    return Late


def flip(at: int, mask: int = 1) -> Change:
    return lambda data: data[:at % len(data)] + bytes([data[at] ^ mask]) + data[at % len(data) + 1:]


def message(cls: Any, **changes: Callable[[Any], Any]) -> Change:
    """Changes fields of a frame of this class."""
    def change(data: bytes) -> bytes:
        decoded = cls.decode(data[3:])
        for name, changed in changes.items():
            setattr(decoded, name, changed(getattr(decoded, name)))
        return frame(data[0], decoded.encode())

    return change


def client(credential: Credential = GOOD, pins: Any = (), known: Any = (SPKI,), **options: Any) -> Client:
    return Client(credential, pins, known, **options)


def server(key: Any = KEY, check: Any = verify, **options: Any) -> Server:
    return Server(key, check, **options)


PINNED: dict[str, Any] = {"pins": [PIN], "known": ()}


# ---- Every mode -----------------------------------------------------------------------------------------------------

def modes(report: Report) -> None:
    def with_proof(suite: int, credential: Credential) -> None:
        met = Meeting(client(credential, suites=[suite], weakest_exchange=suite >> 8),
                      server(suites=[suite])).came_to("ok", "ok")
        expect("a proof", len(ServerHello.decode(met.down[0][3:]).proof), 32)
        expect("spki", ServerHello.decode(met.down[0][3:]).spki, b"")
        expect("no second ciphertext", met.up[1][3:5], b"\0\0")

    def without(suite: int, credential: Credential) -> None:
        end = client(credential, **PINNED, suites=[suite], weakest_exchange=suite >> 8)
        met = Meeting(end, server(suites=[suite])).came_to("ok", "ok")
        expect("a proof", ServerHello.decode(met.down[0][3:]).proof, b"")
        expect("a ciphertext in the hello", ClientHello.decode(met.up[0][3:]).rsa_ciphertext, b"")
        expect("what the client is told", end.told, SPKI)

    for suite in AEADS:
        for kind, credential in (("password", GOOD), ("token", OPAQUE)):
            report.case(f"with a proof, {suite:04x}, {kind}", lambda: with_proof(suite, credential))
            report.case(f"without, {suite:04x}, {kind}", lambda: without(suite, credential))
    for bits in (3072, 4096):
        big = key_file(f"rsa{bits}.pem")
        report.case(f"with a proof, {bits} bits", lambda: Meeting(
            client(known=[spki_of(big.public_key())]), server(big)).came_to("ok", "ok"))
    report.case("without a proof, where the user said so", lambda: Meeting(
        client(without_proof=True), server(proves=False)).came_to("ok", "ok"))
    report.case("T4, without a proof", lambda: Meeting(client(), server(proves=False)).came_to("T4", "ended"))
    report.case("the key is the second known: no proof, T4", lambda: Meeting(
        client(known=[OTHER_SPKI, SPKI]), server()).came_to("T4", "ended"))
    report.case("the key is the second known, and the user said so", lambda: Meeting(
        client(known=[OTHER_SPKI, SPKI], without_proof=True), server()).came_to("ok", "ok"))

    def again_with_the_key_told() -> None:
        first = client(pins=[PIN], known=[OTHER_SPKI])
        Meeting(first, server()).came_to("T4", "ended")
        expect("the key told", first.told, SPKI)
        Meeting(client(known=[first.told, OTHER_SPKI]), server()).came_to("ok", "ok")

    report.case("T4, and then with the key that was told", again_with_the_key_told)
    for credential, name in ((WRONG, "a wrong password"), (Credential(PASSWORD, "mallory", SECRET), "an unknown user"),
                             (Credential(TOKEN, "", b"unknown"), "an unknown token"),
                             (Credential(PASSWORD, USER, SECRET + b"\0"), "a zero byte more")):
        report.case(f"V4, L10, with a proof: {name}", lambda: Meeting(client(credential), server()).came_to(
            "V4", "L10"))
        report.case(f"V4, L10, without: {name}", lambda: Meeting(client(credential, **PINNED), server()).came_to(
            "V4", "L10"))
    for known, options in (("with a proof", {}), ("without", PINNED)):
        for credential in (GOOD, WRONG):
            report.case(f"V6, a not now {known}", lambda: Meeting(
                client(credential, **options), server(check=not_now)).came_to("V6", "not now"))
    for size in (1, 247 - 5, 248 - 5, 249 - 5, 4096):
        report.case(f"a secret of {size} bytes", lambda: Meeting(
            client(Credential(PASSWORD, USER, bytes(size))), server()).came_to("V4", "L10"))

    # The table of frames.
    largest = ClientHello([1] * 8, [0x0201] * 16, bytes(32), [(1, bytes(3072)), (2, b""), (3, b""), (4, b"")],
                          "x" * 255, [bytes(32)] * 8, bytes(8), bytes(500),
                          [(0, bytes(1024 - 16 * 4))] + [(0, b"")] * 15, bytes(1024), bytes(32))
    smallest = ClientHello([], [], bytes(32), [], "", [], bytes(8))
    default = Client(GOOD, [PIN], draws=Draws(extensions=[]))
    extensions = [(0, bytes(16384 - 64))] + [(0, b"")] * 15
    hello = ServerHello(1, 1, bytes(32), bytes(32), bytes(1088), bytes(1536), [1] * 8, bytes(8), extensions, bytes(32))
    for name, body, size in (
            ("the shortest ClientHello", smallest.encode(), sockets.BODY[CLIENT_HELLO][0]),
            ("the longest ClientHello", largest.encode(), sockets.BODY[CLIENT_HELLO][1]),
            ("the default ClientHello", default.hello()[3:], 1317),
            ("the shortest ServerHello", ServerHello(1, 1, bytes(32), bytes(32), b"", b"", [], bytes(8)).encode(),
             sockets.BODY[SERVER_HELLO][0]),
            ("the longest ServerHello", hello.encode(), sockets.BODY[SERVER_HELLO][1]),
            ("the shortest ServerResumption", ServerResumption(1, 1, bytes(32), b"", bytes(2064)).encode(),
             sockets.BODY[SERVER_RESUMPTION][0]),
            ("the longest ServerResumption", ServerResumption(1, 1, bytes(32), bytes(1536), bytes(2064),
                                                              extensions).encode(),
             sockets.BODY[SERVER_RESUMPTION][1]),
            ("the shortest Busy", Busy(1).encode(), sockets.BODY[BUSY][0]),
            ("the longest Busy", Busy(1, [(0, bytes(1024 - 64))] + [(0, b"")] * 15).encode(),
             sockets.BODY[BUSY][1])):
        report.case(f"size of {name}", lambda: expect("bytes", len(body), size))


# ---- Context, names, extensions, Busy -------------------------------------------------------------------------------

def before_the_credential(report: Report) -> None:
    def differs(which: str, known: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]) -> None:
        met = Meeting(client(**known, **mine), server(**theirs)).came_to("C11", "context")
        expect("which of the two", f"another {which}" in str(met.client), True)
        expect("a proof", ServerHello.decode(met.down[0][3:]).proof, b"")

    one, two = ("tls-exporter", bytes(32)), ("tls-exporter", bytes(31) + b"\1")
    for about, known in (("with a proof", {}), ("without", PINNED)):
        report.case(f"C11, another prologue, {about}", lambda: differs(
            "prologue", known, {"prologue": b"a"}, {"prologue": b"b"}))
        report.case(f"C11, another binding, {about}", lambda: differs(
            "channel binding", known, {"binding": one}, {"binding": two}))
        report.case(f"C11, a binding and none, {about}", lambda: differs("channel binding", known, {"binding": one}, {}))
        report.case(f"the same of both, {about}", lambda: Meeting(
            client(**known, prologue=b"a", binding=one), server(prologue=b"a", binding=one)).came_to("ok", "ok"))

    def lying(known: dict[str, Any], ours: str, theirs: str) -> None:
        """Somebody on the way makes both believe that the context is the same."""
        up = {CLIENT_HELLO: message(ClientHello, context=lambda _: context(b"b", ("", b"")))}
        down = {SERVER_HELLO: message(ServerHello, context=lambda _: context(b"a", ("", b"")))}
        Meeting(client(**known, prologue=b"a"), server(prologue=b"b"), up, down).came_to(ours, theirs)

    report.case("another prologue, covered up: the proof is wrong", lambda: lying({}, "C12", "ended"))
    report.case("another prologue, covered up: the login does not open", lambda: lying(PINNED, "V2", "L6"))
    for at in range(8):
        changed = {CLIENT_HELLO: message(ClientHello, context=flip(at))}
        report.case(f"byte {at} of the context altered: no proof", lambda: Meeting(
            client(), server(), changed).came_to("T4", "context"))

    def name(wanted: str, names: Any, theirs: str) -> None:
        Meeting(client(server_name=wanted), server(names=names)).came_to("ok" if theirs == "ok" else "ended", theirs)

    for wanted, names, theirs in (("", (), "ok"), ("", ["a"], "ok"), ("a", ["a"], "ok"), ("a", (), "S12"),
                                  ("b", ["a"], "S12"), ("A", ["a"], "S12"), ("b", None, "ok")):
        report.case(f"S12, {wanted!r} of {names}", lambda: name(wanted, names, theirs))

    def extended_by(extensions: Any, theirs: Any = (), ours: str = "ok", at_server: str = "ok",
                    known: Any = None) -> None:
        Meeting(client(**(known or {}), draws=Draws(extensions=list(extensions))),
                server(draws=Draws(extensions=list(theirs)))).came_to(ours, at_server)

    odd = [(RESERVED[0], b""), (0xff00, b"private"), (77, bytes(100)), (1, b""), (5, b"x")]
    sixteen = [(number, b"") for number in RESERVED]
    for about, known in (("with a proof", {}), ("without", PINNED)):
        report.case(f"unknown extensions of both, {about}", lambda: extended_by(odd, odd, known=known))
        report.case(f"sixteen reserved extensions, {about}", lambda: extended_by(sixteen, sixteen, known=known))
        report.case(f"extensions as long as they may be, {about}", lambda: extended_by(
            [(9, bytes(1020))], [(9, bytes(16380))], known=known))
    report.case("the reserved numbers", lambda: expect("them", (len(RESERVED), RESERVED[0], RESERVED[1], RESERVED[-1]),
                                                       (16, 0x0a0a, 0x1a1a, 0xfafa)))

    def hello_with(rule: str, extensions: Any) -> None:
        changed = {CLIENT_HELLO: message(ClientHello, extensions=lambda _: extensions)}
        Meeting(client(), server(), changed).came_to("ended", rule)

    report.case("S4, an extension twice", lambda: hello_with("S4", [(9, b""), (10, b""), (9, b"x")]))
    report.case("S13, a byte too many of extensions", lambda: hello_with("S13", [(9, bytes(1021))]))
    report.case("S2, seventeen extensions", lambda: hello_with("S2", sixteen + [(9, b"")]))

    def answer_with(extensions: Any, rule: str) -> None:
        changed = {SERVER_HELLO: message(ServerHello, extensions=lambda _: extensions)}
        Meeting(client(), server(), down=changed).came_to(rule, "ended")

    report.case("C13, an extension twice", lambda: answer_with([(9, b""), (9, b"x")], "C13"))
    report.case("C13, a byte too many of extensions", lambda: answer_with([(9, bytes(16381))], "C13"))
    report.case("C2, seventeen extensions", lambda: answer_with(sixteen + [(9, b"")], "C2"))
    report.case("an extension added on the way to the server", lambda: Meeting(
        client(), server(), {CLIENT_HELLO: message(ClientHello, extensions=lambda _: [(9, b"")])}).came_to(
            "C12", "ended"))
    report.case("an extension added on the way to the client", lambda: Meeting(
        client(), server(), down={SERVER_HELLO: message(ServerHello, extensions=lambda _: [(9, b"")])}).came_to(
            "C12", "ended"))

    def busy(known: dict[str, Any], rule: str) -> None:
        met = Meeting(client(**known), server(busy=77)).came_to(rule, "busy")
        assert isinstance(met.client, Refused)
        expect("seconds", met.client.retry_after, 77)

    report.case("C14, busy, with a proof", lambda: busy({}, "C14"))
    report.case("C14, busy, without", lambda: busy(PINNED, "C14"))
    report.case("A8, busy, with a ticket", lambda: busy({"ticket": ticket_for(server(**with_tickets()))}, "A8"))
    for about, body in (("a byte too many", b"\0\1\0\0"), ("an extension twice", u16(1) + extended([(9, b""), (9, b"")])),
                        ("ends early", u16(1) + b"\1")):
        report.case(f"C14, a Busy that is none: {about}", lambda: Meeting(
            client(), server(busy=1), down={BUSY: lambda _: frame(BUSY, body)}).came_to("C14", "busy"))
    report.case("a Busy with an extension", lambda: Meeting(
        client(), server(busy=1), down={BUSY: lambda _: frame(BUSY, Busy(9, [(3, b"puzzle")]).encode())}).came_to(
            "C14", "busy"))


# ---- What is refused in a full login --------------------------------------------------------------------------------

def hellos(report: Report) -> None:
    def case(rule: str, about: str, change: Change, **options: Any) -> None:
        report.case(f"{rule}, {about}", lambda: Meeting(client(**options), server(), {CLIENT_HELLO: change}).came_to(
            "ended", rule))

    def field(rule: str, about: str, _options: Optional[dict[str, Any]] = None, **changes: Callable[[Any], Any]) -> None:
        def change(data: bytes) -> bytes:
            decoded = ClientHello.decode(data[3:])
            for name, changed in changes.items():
                setattr(decoded, name, changed(getattr(decoded, name)))
            return frame(CLIENT_HELLO, decoded.encode())

        case(rule, about, change, **(_options or {}))

    for kind in (0, 2, 3, 10, 11, 255):
        case("S1", f"a frame of type {kind}", lambda data: bytes([kind]) + data[1:])
    case("S1", "a body too short", lambda data: b"\1\0\x34")
    case("S1", "a body too long", lambda data: b"\1\x18\x85")
    case("S2", "a byte too many", lambda data: frame(CLIENT_HELLO, data[3:] + b"\0"))
    case("S2", "a byte too few", lambda data: frame(CLIENT_HELLO, data[3:-1]))
    case("S2", "nine versions", lambda data: frame(CLIENT_HELLO, b"\x09" + bytes(range(18)) + data[6:]))
    field("S3", "no versions", versions=lambda _: [])
    field("S3", "no suites", suites=lambda _: [], key_shares=lambda _: [])
    field("S4", "a version twice", versions=lambda _: [1, 1])
    field("S4", "a suite twice", suites=lambda suites: suites + suites[:1])
    field("S4", "a share twice", key_shares=lambda shares: shares + shares[:1])
    field("S4", "a known key twice", known_keys=lambda known: known * 2)
    field("S5", "a suite without a share", key_shares=lambda shares: shares[1:])
    field("S5", "a share without a suite", key_shares=lambda shares: shares + [(9, b"")])
    field("S5", "a share for RSA alone", key_shares=lambda shares: shares + [(1, b"")])
    field("S6", "a space in the name", server_name=lambda _: "a b")
    field("S6", "another letter in the name", server_name=lambda _: "\u00e9")
    field("S6", "a long name", server_name=lambda _: "x" * 256)
    field("S7", "no version in common", versions=lambda _: [2])
    field("S8", "no suite in common", suites=lambda suites: [suite | 0x80 for suite in suites])
    field("S9", "zeros", {"suites": [0x0201]}, key_shares=lambda _: [(2, bytes(32))])
    field("S9", "a byte too few", {"suites": [0x0201]}, key_shares=lambda _: [(2, bytes(31))])
    field("S11", "a long ticket", ticket=lambda _: bytes(MAX_TICKET + 1), binder=lambda _: bytes(BINDER))
    field("S11", "no binder", ticket=lambda _: b"ticket")
    field("S11", "a binder without a ticket", binder=lambda _: bytes(BINDER))
    field("S11", "a short binder", ticket=lambda _: b"ticket", binder=lambda _: bytes(BINDER - 1))
    field("S14", "a ciphertext and no key", known_keys=lambda _: [])
    field("S15", "a byte too few", rsa_ciphertext=lambda data: data[:-1])
    field("S15", "a byte too many", rsa_ciphertext=lambda data: data + b"\0")
    field("S15", "above the modulus", rsa_ciphertext=lambda data: b"\xff" * len(data))
    modulus = KEY.public_key().public_numbers().n
    field("S15", "the modulus", rsa_ciphertext=lambda data: modulus.to_bytes(256, "big"))
    report.case("S10, a late ClientHello", lambda: Meeting(client(), server(), late_at_server=1).came_to(
        "ended", "S10"))
    # No rule is broken, and yet nothing comes of them.
    for about, value in (("below the modulus", (modulus - 1).to_bytes(256, "big")), ("of zeros", bytes(256)),
                         ("of one", bytes(255) + b"\1")):
        report.case(f"C12, a ciphertext {about}", lambda: Meeting(client(), server(), {
            CLIENT_HELLO: message(ClientHello, rsa_ciphertext=lambda _: value)}).came_to("C12", "ended"))
    report.case("a ciphertext of another length, for another key: no proof", lambda: Meeting(
        client(known=[OTHER_SPKI, SPKI], without_proof=True), server(),
        {CLIENT_HELLO: message(ClientHello, rsa_ciphertext=lambda data: data + b"\0")}).came_to("V2", "L6"))


class Sealing(Server):
    """Seals, in the place of its secret, nothing: what came in the hello never opens."""

    def unwrap(self, ciphertext: bytes, transcript: bytes) -> tuple[bytes, Optional[Refused]]:
        return super().unwrap(ciphertext, bytes(32))


def challenges(report: Report) -> None:
    def case(rule: str, about: str, change: Change, theirs: str = "ended", **options: Any) -> None:
        report.case(f"{rule}, {about}", lambda: Meeting(
            client(**options), server(), down={SERVER_HELLO: change}).came_to(rule, theirs))

    def field(rule: str, about: str, known: Optional[dict[str, Any]] = None, **changes: Callable[[Any], Any]) -> None:
        case(rule, about, message(ServerHello, **changes), **(known or {}))

    for kind in (0, 1, 4, 8, 10):
        case("C1", f"a frame of type {kind}", lambda data: bytes([kind]) + data[1:])
    case("C1", "a body too short", lambda data: b"\2\0\x53")
    case("C1", "a body too long", lambda data: b"\2\x4a\xbd")
    case("C2", "a byte too many", lambda data: frame(SERVER_HELLO, data[3:] + b"\0"))
    case("C2", "a byte too few", lambda data: frame(SERVER_HELLO, data[3:-1]))
    field("C3", "a version that was not offered", version=lambda _: 2)
    field("C4", "a suite that was not offered", suite=lambda _: 0x0101, key_share=lambda _: b"")
    field("C5", "no kinds", credential_kinds=lambda _: [])
    field("C5", "a kind twice", credential_kinds=lambda kinds: kinds + kinds[:1])
    field("C6", "no key", PINNED, spki=lambda _: b"")
    field("C7", "no DER", spki=lambda _: b"key")
    field("C7", "a byte too many", PINNED, spki=lambda spki: spki + b"\0")
    field("C8", "another key id", PINNED, key_id=flip(0))
    field("C9", "zeros", {"suites": [0x0201]}, key_share=lambda _: bytes(32))
    field("C9", "no share", key_share=lambda _: b"")
    report.case("C9, a share where there is none", lambda: Meeting(
        client(suites=[0x0101], weakest_exchange=RSA_ALONE), server(suites=[0x0101]),
        down={SERVER_HELLO: message(ServerHello, key_share=lambda _: bytes(32))}).came_to("C9", "ended"))
    field("C11", "another context", context=flip(0))
    field("C11", "another context, and no proof", context=flip(7), proof=lambda _: b"")
    field("C12", "other bytes", proof=flip(31))
    field("C12", "a byte too few", proof=lambda proof: proof[:-1])
    field("C12", "a byte too many", proof=lambda proof: proof + b"\0")
    field("C12", "nothing was sealed", PINNED, proof=lambda _: fresh())
    field("C12", "under another key", {"known": [SPKI, OTHER_SPKI]}, key_id=lambda _: OTHER_PIN)
    field("C12", "under another key, that is sent", {"known": [SPKI], "pins": [OTHER_PIN]}, key_id=lambda _: OTHER_PIN,
          spki=lambda _: OTHER_SPKI)
    field("C12", "another challenge", nonce=flip(0))
    field("C12", "another suite", suite=lambda suite: suite ^ 3)
    field("C12", "another share", key_share=flip(0))
    field("C12", "another kind", credential_kinds=lambda _: [PASSWORD])
    field("C12", "the key sent, though it is known", spki=lambda _: SPKI)
    field("T4", "a proof taken away", proof=lambda _: b"")
    field("T3", "other kinds", credential_kinds=lambda _: [TOKEN, 3, 4])
    report.case("C12, a secret that did not open", lambda: Meeting(client(), Sealing(KEY, verify)).came_to(
        "C12", "ended"))
    report.case("C10, a late ServerHello", lambda: Meeting(client(), server(), late_at_client=1).came_to(
        "C10", "ended"))
    report.case("T1, another pin", lambda: Meeting(client(pins=[OTHER_PIN], known=()), server()).came_to("T1", "ended"))
    report.case("T1, another key", lambda: Meeting(client(known=[OTHER_SPKI]), server()).came_to("T1", "ended"))
    report.case("T2, under the floor", lambda: Meeting(
        client(weakest_exchange=RSA_X25519MLKEM768), server(suites=[0x0201])).came_to("T2", "ended"))
    report.case("T2, RSA alone by default", lambda: Meeting(
        client(suites=[0x0101]), server(suites=[0x0101])).came_to("T2", "ended"))
    report.case("T3, the server takes tokens alone", lambda: Meeting(client(), server(kinds=[TOKEN])).came_to(
        "T3", "ended"))
    report.case("a proof taken away on the way, where the user goes on", lambda: Meeting(
        client(without_proof=True), server(), down={SERVER_HELLO: message(ServerHello, proof=lambda _: b"")}).came_to(
            "V2", "L3"))


class Lying(Client):
    """Sends another ClientLogin than it should, and knows that it did: its transcript_3 has what it sent."""

    change: Change

    def on_server_hello(self, received: bytes) -> bytes:
        sent = type(self).change(super().on_server_hello(received))
        self.schedule.running = hashlib.sha256(seed(self.prologue, self.binding) + self.sent + received + sent)
        return sent


def lying(change_: Change) -> type[Lying]:
    class Liar(Lying):
        change = staticmethod(change_)

    return Liar


def body(change: Callable[[bytes, bytes], bytes], size: int) -> Change:
    """Changes a ClientLogin, given as the field rsa_ciphertext, of this many bytes with its length, and the rest."""
    return lambda data: frame(CLIENT_LOGIN, change(data[3:3 + size], data[3 + size:]))


def logins(report: Report) -> None:
    def case(rule: str, about: str, change: Callable[[int], Change]) -> None:
        """A client that lies can open the refusal after a proof, and can't without."""
        report.case(f"{rule}, after a proof: {about}", lambda: Meeting(
            lying(change(2))(GOOD, (), [SPKI]), server()).came_to("V4", rule))
        report.case(f"{rule}, without: {about}", lambda: Meeting(
            lying(change(258))(GOOD, [PIN]), server()).came_to("V2", rule))

    for kind in (0, 1, 5, 7, 10):
        case("L1", f"a frame of type {kind}", lambda _: lambda data: bytes([kind]))
    case("L1", "a body too short", lambda _: lambda data: b"\3\0\3")
    case("L1", "a body too long", lambda _: lambda data: b"\3\x16\x15")
    case("L2", "a byte too many", lambda size: body(lambda wrapped, sealed: wrapped + sealed + b"\0", size))
    case("L2", "a byte too few", lambda size: body(lambda wrapped, sealed: wrapped + sealed[:-1], size))
    case("L4", "a byte less", lambda size: body(lambda wrapped, sealed: wrapped + b"\x01\x0f" + sealed[2:-1], size))
    case("L4", "nothing", lambda size: body(lambda wrapped, sealed: wrapped + b"\0\0", size))
    case("L4", "a tag alone", lambda size: body(lambda wrapped, sealed: wrapped + lp(bytes(16)), size))
    case("L4", "a block too many", lambda size: body(lambda wrapped, sealed: wrapped + lp(bytes(4608 + 256 + 16)), size))
    for about, wrapped in (("a byte", lp(b"x")), ("as long as the modulus", lp(bytes(256)))):
        report.case(f"L3, after a proof: {about}", lambda: Meeting(
            lying(body(lambda _, sealed: wrapped + sealed, 2))(GOOD, (), [SPKI]), server()).came_to("V4", "L3"))
    for about, wrapped in (("none", lp(b"")), ("a byte too few", lp(bytes(255))), ("a byte too many", lp(bytes(257))),
                           ("above the modulus", lp(b"\xff" * 256))):
        report.case(f"L3, without: {about}", lambda: Meeting(
            lying(body(lambda _, sealed: wrapped + sealed, 258))(GOOD, [PIN]), server()).came_to("V2", "L3"))
    for about, options in (("after a proof", {}), ("without", PINNED)):
        report.case(f"L5, {about}: nothing is sent", lambda: Meeting(
            client(**options), server(), late_at_server=2).came_to("ended", "L5"))
        report.case(f"L7, {about}: altered", lambda: Meeting(
            client(**options), server(), {CLIENT_LOGIN: flip(-1)}).came_to("V2", "L7"))
        for credential, padding, rule, kinds in (
                (Credential(PASSWORD, "", b"x"), b"", "L8", [PASSWORD, TOKEN]),
                (Credential(PASSWORD, "a\nb", b"x"), b"", "L8", [PASSWORD, TOKEN]),
                (Credential(PASSWORD, "x" * 256, b"x"), b"", "L8", [PASSWORD, TOKEN]),
                (Credential(TOKEN, "alice", b"x"), b"", "L8", [PASSWORD, TOKEN]),
                (Credential(3, "alice", b"x"), b"", "L8", [PASSWORD, TOKEN]),
                (Credential(PASSWORD, "alice", b""), b"", "L8", [PASSWORD, TOKEN]),
                (Credential(PASSWORD, "alice", bytes(4097)), b"", "L8", [PASSWORD, TOKEN]),
                (GOOD, bytes(256), "L8", [PASSWORD, TOKEN]),
                (OPAQUE, b"", "L9", [PASSWORD])):
            end = client(**options)
            end.plaintext = credential.encode_padded() + padding
            report.case(f"{rule}, {about}: {credential.kind}, {credential.user[:8]!r}, {len(padding)} bytes more",
                        lambda: Meeting(end, server(kinds=kinds)).came_to("V4", rule))
    report.case("L6, in the hello, by a client that does not look at the proof", lambda: Meeting(
        Careless(GOOD, (), [SPKI]), server(), {CLIENT_HELLO: message(ClientHello, rsa_ciphertext=lambda _: bytes(256))}
    ).came_to("V2", "L6"))
    report.case("L6, in the login: altered", lambda: Meeting(client(**PINNED), server(), {
        CLIENT_LOGIN: flip(100)}).came_to("V2", "L6"))
    report.case("L6, another challenge", lambda: Meeting(client(**PINNED), server(), down={
        SERVER_HELLO: message(ServerHello, nonce=flip(0))}).came_to("V2", "L6"))

    def replayed() -> None:
        """The login of another connection."""
        met = Meeting(client(**PINNED), server()).came_to("ok", "ok")
        Meeting(client(**PINNED), server(), {CLIENT_LOGIN: lambda _: met.up[1]}).came_to("V2", "L6")

    report.case("L6, the login of another connection", replayed)

    def replayed_with_proof() -> None:
        met = Meeting(client(), server()).came_to("ok", "ok")
        again = Meeting(client(**PINNED), server(),
                        {CLIENT_HELLO: lambda _: met.up[0], CLIENT_LOGIN: lambda _: met.up[1]})
        again.came_to("C6", "ended")

    report.case("the hello of another connection", replayed_with_proof)

    def played_again() -> None:
        """All that a client sent, by somebody else: the server accepts nothing."""
        met = Meeting(client(), server()).came_to("ok", "ok")
        near, far = socket.socketpair()
        near.sendall(b"".join(met.up[:2]))
        near.shutdown(socket.SHUT_WR)
        refused("L7", lambda: serve(far, server()))

    report.case("L7, the hello and the login of another connection", played_again)


class Careless(Client):
    """Goes on whatever the proof is."""

    def is_proof(self, proof: bytes) -> bool:
        return True


# ---- Verdicts -------------------------------------------------------------------------------------------------------

class Judging(Server):
    """Its verdicts are these bytes, whatever it thinks."""

    said: bytes

    def seal(self, verdict: Verdict) -> bytes:
        return self.schedule.seal(b"verdict", self.said)


def judging(said_: bytes, **options: Any) -> Server:
    class Judge(Judging):
        said = said_

    return Judge(KEY, verify, **options)


def padded(verdict: bytes) -> bytes:
    return verdict.ljust(VERDICT_SIZE, b"\0")


def bad_verdicts() -> dict[str, bytes]:
    accept = Verdict(ACCEPT, USER, PERMISSIONS)

    def of(**changes: Any) -> bytes:
        return padded(replace(accept, **changes).encode())

    words = [f"{n:02}" + "x" * 62 for n in range(16)]
    return {
        "decision 3": of(decision=3, principal="", permissions=[]),
        "a reject with a principal": of(decision=REJECT, permissions=[]),
        "a not now with permissions": of(decision=NOT_NOW, principal=""),
        "a reject with a ticket": of(decision=REJECT, principal="", permissions=[], ticket=b"x", ticket_lifetime=1),
        "a not now with a ticket": of(decision=NOT_NOW, principal="", permissions=[], ticket=b"x", ticket_lifetime=1),
        "no principal": of(principal=""),
        "a principal with a control character": of(principal="a\x7f"),
        "a long principal": of(principal="x" * 256),
        "a permission twice": of(permissions=["a", "a"]),
        "a permission with a comma": of(permissions=["a,b"]),
        "a permission of 65 bytes": of(permissions=["x" * 65]),
        "an empty permission": of(permissions=[""]),
        "33 permissions": of(permissions=[str(n) for n in range(33)]),
        "a grant of 1025 bytes": of(principal="x" * 255, permissions=words[:11] + ["y" * 38]),
        "a ticket of 501 bytes": of(ticket=bytes(501), ticket_lifetime=1),
        "a ticket without a lifetime": of(ticket=b"x"),
        "a lifetime without a ticket": of(ticket_lifetime=1),
        "an extension twice": of(extensions=[(9, b""), (9, b"")]),
        "extensions of 481 bytes": of(extensions=[(9, bytes(477))]),
        "seventeen extensions": of(extensions=[(n, b"") for n in range(17)]),
        "padding": of()[:-1] + b"\1",
        "text that is not UTF-8": padded(accept.encode().replace(b"alice", b"alic\xff")),
        "no length that fits": padded(b"\1\xff\xff"),
    }


def verdicts(report: Report) -> None:
    def judged(rule: str, said: bytes) -> None:
        for options in ({}, PINNED):
            met = Meeting(client(**options), judging(said))
            expect("the client's end", outcome(met.client), rule)
            met.close()

    whole = Verdict(ACCEPT, "x" * 255, [f"{n:02}" + "x" * 62 for n in range(11)] + ["y" * 37], b"t" * 500, 2 ** 64 - 1,
                    [(9, bytes(476))])
    report.case("a verdict as long as it may be", lambda: expect("its bytes", len(whole.encode()), 1024 + 502 + 8 + 481))
    report.case("V3: none, as long as it may be", lambda: judged("ok", whole.encode_padded()))
    report.case("V3: none, an unknown extension", lambda: judged("ok", padded(
        replace(Verdict(ACCEPT, USER), extensions=[(RESERVED[3], b"")]).encode())))
    report.case("V4, with an extension", lambda: judged("V4", padded(Verdict(REJECT, extensions=[(9, b"x")]).encode())))
    report.case("V6, with an extension", lambda: judged("V6", padded(Verdict(NOT_NOW, extensions=[(9, b"x")]).encode())))

    for about, said in bad_verdicts().items():
        report.case(f"V3, {about}", lambda: judged("V3", said))
    for rule, about, change in (("V1", "a frame of another type", lambda data: b"\2" + data[1:]),
                                ("V1", "a byte less", lambda data: frame(SERVER_VERDICT, data[3:-1])),
                                ("V1", "the old length", lambda data: frame(SERVER_VERDICT, data[3:1555])),
                                ("V2", "altered", flip(-1)), ("V2", "altered", flip(3))):
        for known in ({}, PINNED):
            report.case(f"{rule}, {about}", lambda: Meeting(
                client(**known), server(), down={SERVER_VERDICT: change}).came_to(rule, "ok"))
    report.case("V5, a late verdict", lambda: Meeting(client(), server(), late_at_client=2).came_to("V5", "ok"))


# ---- Tickets --------------------------------------------------------------------------------------------------------

ACCOUNTS = {USER: Account(1, PERMISSIONS)}


def with_tickets(**options: Any) -> dict[str, Any]:
    return {"tickets": Tickets(), "account": ACCOUNTS.get, **options}


def ticket_for(end: Server, credential: Credential = GOOD, **options: Any) -> Ticket:
    """That of a full login at a server."""
    options = {"suites": FORWARD_SECRET, **options}
    return Meeting(client(credential, **options), end).came_to("ok", "ok").ticket()


def resumptions(report: Report) -> None:
    def in_a_row(suite: int, credential: Credential, **options: Any) -> None:
        shared = with_tickets(suites=[suite], names=["db.example"])
        mine = {"suites": [suite], "weakest_exchange": suite >> 8, "server_name": "db.example", **options}
        shown = ticket_for(server(**shared), credential, **mine)
        seen = []
        wrong = replace(credential, secret=b"not it")
        for _ in range(3):
            seen.append(shown.ticket)
            met = Meeting(client(wrong, ticket=shown, **mine), server(**shared)).came_to("ok", "ok")
            hello = ClientHello.decode(met.up[0][3:])
            expect("a ciphertext", bool(hello.rsa_ciphertext), bool(options.get("seals")))
            expect("the frames of the handshake", [data[0] for data in met.up[:2]], [CLIENT_HELLO, CONFIRM])
            expect("the answer", met.down[0][0], SERVER_RESUMPTION)
            expect("the chain began", met.ticket().began, shown.began)
            shown = met.ticket()
        expect("different tickets", len(set(seen)), 3)
        expect("the size of each", {len(ticket) for ticket in seen}, {448})

    for suite in AEADS:
        for kind, credential in (("password", GOOD), ("token", OPAQUE)):
            report.case(f"tickets in a row, {suite:04x}, {kind}", lambda: in_a_row(suite, credential))
            report.case(f"tickets in a row, with a ciphertext, {suite:04x}, {kind}", lambda: in_a_row(
                suite, credential, seals=True))
    report.case("tickets in a row, where only the fingerprint is known", lambda: in_a_row(0x0301, GOOD, **PINNED))
    report.case("one size, whatever the names", lambda: expect("sizes", {
        len(Tickets().renew(Tickets().begin("x" * size, 1, 0x0301, PIN, bytes(32), 1), bytes(32))[0])
        for size in (1, 100, 255)}, {448}))

    def falls_back(rule: str, change: Callable[[dict[str, Any], Ticket], Any] = lambda shared, ticket: None,
                   up: Callable[[Ticket], Changes] = lambda ticket: {}, ours: str = "ok", **mine: Any) -> None:
        """The ticket is not taken; the login goes on as if there had been none."""
        for known in (PINNED, {"without_proof": True}, {"without_proof": True, "seals": True}):
            shared = with_tickets(names=None)
            shown = ticket_for(server(**shared), **known)
            change(shared, shown)
            end, other = client(ticket=shown, **{**known, **mine}), server(**shared)
            assert end.ticket, "the ticket is not shown"
            met = Meeting(end, other, up(shown))
            expect("why the ticket was not taken", other.not_taken and other.not_taken.rule, rule)
            met.came_to("ok", "ok") if ours == "ok" else met.close()

    def options(**changes: Any) -> Callable[[dict[str, Any], Ticket], None]:
        return lambda shared, _: shared.update(changes)

    def ticket_of(change: Change) -> Callable[[dict[str, Any], Ticket], None]:
        def changes(_: dict[str, Any], ticket: Ticket) -> None:
            ticket.ticket = change(ticket.ticket)

        return changes

    def resealed(**changes: Any) -> Callable[[dict[str, Any], Ticket], None]:
        """As if the server had sealed something else."""
        def change(shared: dict[str, Any], ticket: Ticket) -> None:
            tickets = shared["tickets"]
            ticket.ticket = tickets.seal(replace(tickets.open(ticket.ticket), **changes))

        return change

    def clock(seconds: int) -> Callable[[dict[str, Any], Ticket], None]:
        def change(shared: dict[str, Any], _: Ticket) -> None:
            now = shared["tickets"].now()
            shared["tickets"].clock, shared["tickets"].latest = lambda: now + seconds, 0

        return change

    def wrong_secret(_: dict[str, Any], ticket: Ticket) -> None:
        ticket.secret = bytes(32)

    def rotated(times: int) -> Callable[[dict[str, Any], Ticket], None]:
        return lambda shared, _: [shared["tickets"].rotate() for _ in range(times)] and None

    report.case("K1, of another server", lambda: falls_back("K1", options(tickets=Tickets())))
    for at in (0, 8, 20, -1):
        report.case(f"K1, byte {at} altered", lambda: falls_back("K1", ticket_of(flip(at))))
    for about, other in (("of 1 byte", b"x"), ("of 8", bytes(8)), ("of 500", bytes(MAX_TICKET))):
        report.case(f"K1, {about}", lambda: falls_back("K1", ticket_of(lambda _: other)))
    report.case("K1, under a key that is gone", lambda: falls_back("K1", rotated(2)))
    report.case("K2, it has expired", lambda: falls_back("K2", clock(3600)))
    report.case("K2, its chain is too old", lambda: falls_back("K2", resealed(began=1)))
    report.case("K2, made in the future", lambda: falls_back("K2", clock(-SKEW - 1)))
    report.case("K2, begun in the future", lambda: falls_back("K2", resealed(began=2 ** 40)))
    report.case("K3, another secret", lambda: falls_back("K3", wrong_secret))
    report.case("K4, its suite is not offered", lambda: falls_back("K4", ours="any", up=lambda ticket: rebound(
        ticket, suites=lambda _: [0x0202], key_shares=lambda shares: shares[:1])))
    report.case("K4, its suite is not taken", lambda: falls_back("K4", options(suites=[0x0202])))
    report.case("K5, the server has another key", lambda: falls_back(
        "K5", options(key=OTHER), pins=[PIN, OTHER_PIN]))
    report.case("K7, another epoch", lambda: falls_back("K7", options(account={USER: Account(2, [])}.get)))
    report.case("K7, no account", lambda: falls_back("K7", resealed(principal="bob")))
    report.case("K8, another server name", lambda: falls_back("K8", resealed(place=bytes(32))))
    report.case("K9, a kind that is not taken now", lambda: falls_back("K9", resealed(kind=3)))
    report.case("K10, begun under a key that is gone", lambda: falls_back("K10", resealed(chain_key=bytes(8))))

    def newer(shared: dict[str, Any], ticket: Ticket) -> None:
        """Whoever has stolen an old key says that its chain began under a new one."""
        tickets = shared["tickets"]
        opened = tickets.open(ticket.ticket)
        tickets.rotate()
        tickets.keys.reverse()
        ticket.ticket = tickets.seal(replace(opened, chain_key=tickets.keys[1][0]))
        tickets.keys.reverse()

    report.case("K10, begun under a newer key than it is sealed under", lambda: falls_back("K10", newer))

    def chain_of_keys() -> None:
        """A chain lives on under the next key, and ends with the key that it began under."""
        shared = with_tickets()
        shown = ticket_for(server(**shared))
        for _ in range(2):
            if _:
                shared["tickets"].rotate()
            shown = Meeting(client(ticket=shown), server(**shared)).came_to("ok", "ok").ticket()
        shared["tickets"].rotate()
        other = server(**shared)
        Meeting(client(ticket=shown, without_proof=True), other).came_to("ok", "ok")
        assert other.not_taken
        expect("why", other.not_taken.rule, "K10")

    report.case("K10, a chain outlives one rotation, and not two", chain_of_keys)

    def used() -> None:
        shared = with_tickets()
        shown = ticket_for(server(**shared))
        copy = replace(shown)
        following = Meeting(client(ticket=shown), server(**shared)).came_to("ok", "ok").ticket()
        other = server(**shared)
        Meeting(client(ticket=copy, without_proof=True), other).came_to("ok", "ok")
        assert other.not_taken
        expect("why", other.not_taken.rule, "K6")
        Meeting(client(ticket=following), server(**shared)).came_to("ok", "ok")

    report.case("K6, used before", used)

    def used_since() -> None:
        """An older one of the chain is used at another server, later: both share the memory, and one was restored."""
        shared = with_tickets()
        now = shared["tickets"].now()
        shown = ticket_for(server(**shared))
        copy = replace(shown)
        following = Meeting(client(ticket=shown), server(**shared)).came_to("ok", "ok").ticket()
        shared["tickets"].used.clear()
        shared["tickets"].clock = lambda: now + 10
        Meeting(client(ticket=copy), server(**shared)).came_to("ok", "ok")
        other = server(**shared)
        Meeting(client(ticket=following, without_proof=True), other).came_to("ok", "ok")
        assert other.not_taken
        expect("why", other.not_taken.rule, "K6")

    report.case("K6, an older one of its chain was used since", used_since)

    def not_used_up() -> None:
        """By somebody without its secret."""
        shared = with_tickets()
        shown = ticket_for(server(**shared))
        other = server(**shared)
        Meeting(client(ticket=replace(shown, secret=bytes(32)), without_proof=True), other).came_to("ok", "ok")
        assert other.not_taken
        expect("why", other.not_taken.rule, "K3")
        Meeting(client(ticket=shown), server(**shared)).came_to("ok", "ok")

    report.case("K6, not used up by whoever does not hold its secret", not_used_up)

    def other_name() -> None:
        """Two names of one server, with the same key and ticket keys. The client lies about what it keeps."""
        shared = with_tickets(names=["a", "b"])
        shown = ticket_for(server(**shared), server_name="a")
        expect("shown", client(ticket=replace(shown), server_name="b").ticket, None)
        other = server(**shared)
        Meeting(client(ticket=replace(shown, server_name="b"), server_name="b", without_proof=True), other).came_to(
            "ok", "ok")
        assert other.not_taken
        expect("why", other.not_taken.rule, "K8")

    report.case("K8, the same ticket under another name", other_name)

    def other_context(mine: dict[str, Any], rule: str, covered_up: bool) -> None:
        shared = with_tickets()
        shown = ticket_for(server(**shared))
        other = server(**shared, **mine)
        up = {CLIENT_HELLO: message(ClientHello, context=lambda _: context(
            other.prologue, other.binding))} if covered_up else {}
        met = Meeting(client(ticket=shown), other, up)
        assert other.not_taken
        expect("why", other.not_taken.rule, rule)
        met.came_to("C11", "ended" if covered_up else "context")

    for mine in ({"prologue": b"x"}, {"binding": ("tls-exporter", bytes(32))}):
        report.case(f"K11, another {list(mine)[0]}", lambda: other_context(mine, "K11", False))
        report.case(f"K3, another {list(mine)[0]}, covered up", lambda: other_context(mine, "K3", True))

    def clock_back() -> None:
        """What has expired stays so, whatever the clock says then."""
        shared = with_tickets()
        tickets, now = shared["tickets"], shared["tickets"].now()
        shown = ticket_for(server(**shared))
        tickets.clock = lambda: now + 3601
        tickets.now()
        tickets.clock = lambda: now
        other = server(**shared)
        Meeting(client(ticket=shown, without_proof=True), other).came_to("ok", "ok")
        assert other.not_taken
        expect("why", other.not_taken.rule, "K2")

    report.case("K2, a clock that goes back makes nothing good again", clock_back)

    def no_proof() -> None:
        """The ticket is not taken, and the key is known whole: T4, and then once more without it."""
        shared = with_tickets()
        shown = ticket_for(server(**shared))
        shared["tickets"] = Tickets()
        Meeting(client(ticket=shown), server(**shared)).came_to("T4", "ended")
        expect("shown again", client(ticket=shown).ticket, None)
        Meeting(client(), server(**shared)).came_to("ok", "ok")

    report.case("T4, a ticket that is not taken", no_proof)

    def with_ciphertext() -> None:
        """A ticket that is not taken, beside a ciphertext: a proof comes, and the login goes on with it."""
        shared = with_tickets()
        shown = ticket_for(server(**shared))
        shared["tickets"] = Tickets()
        met = Meeting(client(ticket=shown, seals=True), server(**shared)).came_to("ok", "ok")
        expect("a proof", len(ServerHello.decode(met.down[0][3:]).proof), 32)

    report.case("a proof, where a ticket is not taken", with_ciphertext)

    def not_opened() -> None:
        shared = with_tickets(proves=False)
        shown = ticket_for(server(**shared), without_proof=True)
        other = server(**shared)
        Meeting(client(ticket=shown, seals=True, without_proof=True), other).came_to("ok", "ok")
        assert other.not_taken
        expect("why", other.not_taken.rule, "not opened")

    report.case("the ciphertext beside it is not opened: the ticket is not taken", not_opened)

    def refuses(ours: str, theirs: str, down: Optional[Changes] = None, up: Any = None,
                late_: tuple[int, int] = (0, 0), suite: int = 0x0201, make: Any = server, seals: bool = False) -> None:
        shared = with_tickets(suites=[suite])
        shown = ticket_for(server(**shared), suites=[suite])
        up = up(shown) if callable(up) else up
        Meeting(client(ticket=shown, suites=[suite], seals=seals), make(**shared), up, down, *late_).came_to(ours, theirs)

    def resumption(**changes: Callable[[Any], Any]) -> Changes:
        return {SERVER_RESUMPTION: message(ServerResumption, **changes)}

    for rule, about, change in (
            ("A1", "a frame of another type", lambda data: b"\4" + data[1:]),
            ("A1", "a Confirm", lambda data: b"\x0a" + data[1:]),
            ("A1", "a body too short", lambda data: b"\x08\x08\x36"),
            ("A1", "a body too long", lambda data: b"\x08\x4e\x38"),
            ("A2", "a byte too many", lambda data: frame(SERVER_RESUMPTION, data[3:] + b"\0")),
            ("A2", "a byte too few", lambda data: frame(SERVER_RESUMPTION, data[3:-1]))):
        report.case(f"{rule}, {about}", lambda: refuses(rule, "ended", {SERVER_RESUMPTION: change}))
    for rule, about, changes in (
            ("A2", "an extension twice", {"extensions": lambda _: [(9, b""), (9, b"")]}),
            ("A2", "a byte too many of extensions", {"extensions": lambda _: [(9, bytes(16381))]}),
            ("A2", "seventeen extensions", {"extensions": lambda _: [(n, b"") for n in range(17)]}),
            ("A3", "another version", {"version": lambda _: 2}),
            ("A3", "another suite", {"suite": lambda suite: suite ^ 3}),
            ("A4", "zeros", {"key_share": lambda _: bytes(32)}), ("A4", "no share", {"key_share": lambda _: b""}),
            ("A5", "an altered nonce", {"nonce": flip(0)}), ("A5", "an altered share", {"key_share": flip(0)}),
            ("A5", "an extension more", {"extensions": lambda _: [(9, b"")]}),
            ("A5", "an altered verdict", {"sealed_verdict": flip(-1)})):
        report.case(f"{rule}, {about}", lambda: refuses(rule, "ended", resumption(**changes)))

    def no_share() -> None:
        shared = with_tickets(suites=[0x0101])
        mine: dict[str, Any] = {"suites": [0x0101], "weakest_exchange": RSA_ALONE}
        shown = ticket_for(server(**shared), **mine)
        Meeting(client(ticket=shown, **mine), server(**shared), down=resumption(
            key_share=lambda _: bytes(32))).came_to("A4", "ended")

    report.case("A4, a share where there is none", no_share)
    report.case("A5, a ciphertext that does not open", lambda: refuses("A5", "ended", make=lambda **shared: Sealing(
        KEY, verify, **shared), seals=True))
    for at in (10, -100, -40):
        report.case(f"altered on the way to the server, at {at}: the ticket is not taken", lambda: refuses(
            "T4", "ended", up={CLIENT_HELLO: flip(at)}))
    report.case("S9, by whoever holds the secret", lambda: refuses("ended", "S9", up=lambda ticket: rebound(
        ticket, key_shares=lambda _: [(2, bytes(32))])))
    report.case("A7, a late ServerResumption", lambda: refuses("A7", "ended", late_=(1, 0)))
    for about, said in {**bad_verdicts(), "a reject": Verdict(REJECT).encode_padded(),
                        "a not now": Verdict(NOT_NOW).encode_padded()}.items():
        report.case(f"A6, {about}", lambda: refuses("A6", "ended", make=lambda **shared: judging(said, **shared)))

    for rule, about, change in (
            ("F1", "a record", lambda _: b"\5\0\x17" + bytes(23)), ("F1", "a Close", lambda _: b"\7\0\x10" + bytes(16)),
            ("F1", "a ClientLogin", lambda _: b"\3\0\4" + bytes(4)),
            ("F1", "a byte more", lambda data: frame(CONFIRM, data[3:] + b"\0")),
            ("F1", "a byte less", lambda data: frame(CONFIRM, data[3:-1])),
            ("F2", "altered", flip(-1)), ("F2", "zeros", lambda _: frame(CONFIRM, bytes(16)))):
        report.case(f"{rule}, {about}", lambda: refuses("ok", rule, up={CONFIRM: change}))
    report.case("F3, a late Confirm", lambda: refuses("ok", "F3", late_=(0, 2)))

    def played_again() -> None:
        """A recorded hello: it is answered, and that is all."""
        shared = with_tickets(tickets=Tickets(single_use=False))
        shown = ticket_for(server(**shared))
        met = Meeting(client(ticket=shown), server(**shared)).came_to("ok", "ok")
        for data, rule in ((b"", "ended"), (met.up[1], "F2"), (b"\7\0\x10" + bytes(16), "F1")):
            near, far = socket.socketpair()
            near.sendall(met.up[0] + data)
            near.shutdown(socket.SHUT_WR)
            expect("the server's end", outcome(Meeting.end(lambda: serve(far, server(**shared)))), rule)

    report.case("a recorded hello is no session, nor with its Confirm", played_again)
    kept(report)


def rebound(ticket: Ticket, **changes: Callable[[Any], Any]) -> Changes:
    """Changes a hello with a ticket as somebody can who holds its secret."""
    def change(data: bytes) -> bytes:
        changed = message(ClientHello, **changes)(data)
        return changed[:-BINDER] + binder(ticket.secret, seed(b"", ("", b"")), changed)

    return {CLIENT_HELLO: change}


def kept(report: Report) -> None:
    """When a client shows what it keeps."""
    now = 1_000_000_000
    shown = Ticket(b"x", bytes(32), 0x0301, PIN, "a", (PASSWORD, USER), 3600, now, now)

    def shows(yes: bool, seconds: int = 0, ticket: Ticket = shown, credential: Credential = GOOD, **options: Any) -> None:
        options = {"server_name": "a", "clock": lambda: now + seconds, **options}
        expect("shown", client(credential, ticket=replace(ticket), **options).ticket is not None, yes)

    def once() -> None:
        ticket = replace(shown)
        end = client(ticket=ticket, server_name="a", clock=lambda: now)
        end.hello()
        expect("shown again", client(ticket=ticket, server_name="a", clock=lambda: now).ticket, None)

    report.case("a client shows a ticket", lambda: shows(True))
    report.case("a client shows a ticket in its last second", lambda: shows(True, 3599))
    report.case("a client drops a ticket that has expired", lambda: shows(False, 3600))
    report.case("a client drops a ticket from the future", lambda: shows(False, -1))
    report.case("a client drops a ticket of an old chain", lambda: shows(
        False, ticket=replace(shown, began=now - WEEK - 1)))
    report.case("a client shows a ticket of a chain of a week", lambda: shows(
        True, ticket=replace(shown, began=now - WEEK)))
    report.case("a lifetime of all bits is no more than a week", lambda: shows(
        False, WEEK + 1, replace(shown, lifetime=2 ** 64 - 1)))
    report.case("a client shows a ticket once", once)
    report.case("not for another user", lambda: shows(False, credential=replace(GOOD, user="bob")))
    report.case("not for another kind", lambda: shows(False, credential=OPAQUE))
    report.case("not to another server", lambda: shows(False, server_name="b"))
    report.case("not if its key is not trusted now", lambda: shows(False, known=[OTHER_SPKI]))
    report.case("not under the floor", lambda: shows(
        False, ticket=replace(shown, suite=0x0201), weakest_exchange=RSA_X25519MLKEM768))
    report.case("not if its suite is not offered", lambda: shows(False, suites=[0x0302]))


# ---- Bytes flipped everywhere ---------------------------------------------------------------------------------------

def flips(report: Report, count: int = 40) -> None:
    """Whichever bit of a handshake is another on arrival: no session at the end that it matters to."""
    draw = random.Random(9)

    def flipped(kind: int, known: dict[str, Any], tickets: bool) -> None:
        for _ in range(count):
            at, mask = draw.random(), 1 << draw.randrange(8)

            def change(data: bytes) -> bytes:
                return flip(3 + int(at * (len(data) - 3)), mask)(data)

            shared = with_tickets(suites=[0x0201])
            mine = {"suites": [0x0201], **known}
            shown = ticket_for(server(**shared), suites=[0x0201]) if tickets else None
            met = Meeting(client(ticket=shown, **mine), server(**shared), {kind: change}, {kind: change})
            if kind != CONFIRM:
                expect(f"at {at}, the client has a session", isinstance(met.client, Channel), False)
            if kind not in (SERVER_VERDICT,):
                expect(f"at {at}, the server has a session", isinstance(met.server, Channel), False)
            met.close()

    before, sockets.REFUSAL_DELAY = sockets.REFUSAL_DELAY, 0.0
    for about, known in (("with a proof", {}), ("without", PINNED), ("going on", {"without_proof": True})):
        for kind in (CLIENT_HELLO, SERVER_HELLO, CLIENT_LOGIN, SERVER_VERDICT):
            report.case(f"a bit of frame {kind}, {about}", lambda: flipped(kind, known, False))
    for about, known in (("alone", {}), ("and a ciphertext", {"seals": True})):
        for kind in (CLIENT_HELLO, SERVER_RESUMPTION, CONFIRM):
            report.case(f"a bit of frame {kind}, a ticket {about}", lambda: flipped(kind, known, True))
    sockets.REFUSAL_DELAY = before


# ---- Records --------------------------------------------------------------------------------------------------------

def records(report: Report) -> None:
    def broken(rule: str, change: Callable[[Session], bytes], ends: bool = False) -> None:
        met = Meeting(client(), server())
        assert isinstance(met.client, Channel) and isinstance(met.server, Channel)
        met.client.stream.write(change(met.client.session))
        if ends:
            met.sockets[0].sock.shutdown(socket.SHUT_WR)
        end = met.server

        def read() -> None:
            while end.receive() is not None:
                pass
            end.session.incoming.open(met.up[-1][-19:])  # what is after a Close

        refused(rule, read)
        met.close()

    def unused(session: Session) -> bytes:
        header = u8(KEY_UPDATE) + u16(TAG)
        return header + session.outgoing.cipher.encrypt(session.outgoing.nonce(), b"", header)

    report.case("R1, a Confirm in a session", lambda: broken("R1", lambda session: b"\x0a\0\x10" + bytes(16)))
    report.case("R1, an impossible length", lambda: broken("R1", lambda session: b"\5\0\x10"))
    report.case("R2, altered", lambda: broken("R2", lambda session: flip(3)(session.outgoing.seal(DATA, b"x"))))
    report.case("R3, after a Close", lambda: broken("R3", lambda session: session.outgoing.seal(7) + bytes(19)))
    report.case("R4, no Close", lambda: broken("R4", lambda session: session.outgoing.seal(DATA, b"x"), True))
    report.case("R6, an update of an unused key", lambda: broken("R6", unused))

    def too_many() -> None:
        met = Meeting(client(), server())
        assert isinstance(met.client, Channel)
        direction = met.client.session.outgoing
        direction.n = MAX_FRAMES + 1
        refused("R5", lambda: direction.open(b"\5\0\x11" + bytes(17)))
        met.close()

    report.case("R5, too many frames under a key", too_many)


def cases(report: Report) -> None:
    for part in (modes, before_the_credential, hellos, challenges, logins, verdicts, resumptions, flips, records):
        part(report)


def main() -> int:
    report = Report()
    cases(report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
