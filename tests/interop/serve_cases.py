"""The Python client and `countersign serve`: logins, and what the server must refuse."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from command import GOOD, NAME, PERMISSIONS, SECRET, USER, Command, RustServer, answer, rest, unused_update
from countersign import (AEADS, BINDER, CLIENT_HELLO, CLIENT_LOGIN, DATA, FORWARD_SECRET, MAX_TICKET, PASSWORD,
                         RESERVED, SERVER_HELLO, SERVER_VERDICT, TOKEN, X25519, Client, ClientHello, Credential, Draws,
                         ServerHello, Session, client_share, context, fingerprint, frame, fresh, key_id, lp, spki_of)
from report import Report, expect, refused
from meeting import OTHER_SPKI, Careless, altered, body, flip, hearing, lying, message
from serve_ticket_cases import resumption_cases
from shares import UNUSABLE, UNUSABLE_CLIENTS, coefficient, receiving
from sockets import Stream, login


def client_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey, token: bytes) -> None:
    spki = spki_of(key.public_key())
    with RustServer(command, f"{name}.pem") as server:
        pin = key_id(spki)
        report.case(f"serve, {name} key: fingerprint", lambda: expect("it", server.pin, fingerprint(pin)))
        named = NAME if command.names() else ""
        for suite in FORWARD_SECRET:
            for kind, credential in (("password", GOOD), ("token", Credential(TOKEN, "", token))):
                for about, known in (("with a proof", [spki]), ("without", [])):
                    client = Client(credential, [pin], known, suites=[suite], server_name=named)
                    report.case(f"serve, {name} key, suite {suite:04x}, {kind}, {about}",
                                lambda: session(server, client))
        if name == "keygen":
            proof_cases(report, server, spki)
            refusal_cases(report, server, pin)
            hello_cases(report, server, pin)
            record_cases(report, server, pin)
            deadline_cases(report, command, name)
    if name == "keygen":
        with RustServer(command, f"{name}.pem") as server:
            resumption_cases(report, command, server, key, token, session)


def session(server: RustServer, client: Client, permissions: Sequence[str] = PERMISSIONS) -> Session:
    with server.login(client) as channel:
        verdict = channel.session.verdict
        expect("the verdict", (verdict.principal, verdict.permissions), (USER, list(permissions)))
        lines = channel.lines()
        for line in (b"whoami", b"echo x", b"quit"):
            channel.send(line + b"\n")
            expect("the answer", next(lines), b"bye" if line == b"quit" else answer(line, permissions))
        channel.finish()
        expect("closed by the server", channel.session.incoming.closed, True)
        # The server's log line of this session: both ends have the same session id.
        event = "login-resumed" if channel.session.resumed else "login-accepted"
        server.wait(rf"event={event} .*(session={channel.session.session_id.hex()})")
        return channel.session


def rejected(server: RustServer, client: Client, rule: str) -> None:
    """One verdict comes, whatever the reason, and then the end."""
    with server.connect() as sock:
        refused(rule, lambda: login(sock, client))
        expect("after the verdict", rest(sock), b"")


def stops(server: RustServer, client: Client, rule: str) -> None:
    """The client refuses what the server says."""
    with server.connect() as sock:
        refused(rule, lambda: login(sock, client))


# ---- The server proves itself ---------------------------------------------------------------------------------------

def proof_cases(report: Report, server: RustServer, spki: bytes) -> None:
    def case(about: str, step: Callable[[], object]) -> None:
        report.case(f"serve, with a proof: {about}", step)

    def proof(known: list[bytes], wanted: int, **options: Any) -> None:
        """The length of the server's proof, and whether it sends its key."""
        with server.connect() as sock:
            sock.sendall(Client(GOOD, [key_id(spki)], known, **options).hello())
            hello = ServerHello.decode(Stream(sock).frame({SERVER_HELLO}, "C1")[3:])
            expect("the proof's length", len(hello.proof), wanted)
            expect("spki", hello.spki, b"" if known else spki)

    case("its length", lambda: proof([spki], 32))
    case("none where nothing was sealed", lambda: proof([], 0))
    case("none where it was sealed to another key", lambda: proof([OTHER_SPKI, spki], 0))
    case("T4, it was sealed to another key", lambda: stops(server, Client(GOOD, (), [OTHER_SPKI, spki]), "T4"))
    case("going on without", lambda: expect("its key", session(server, Client(
        GOOD, (), [OTHER_SPKI, spki], without_proof=True)).resumed, False))
    for about, credential in (("wrong password", Credential(PASSWORD, USER, b"wrong")),
                              ("a zero byte more", Credential(PASSWORD, USER, SECRET + b"\0")),
                              ("unknown user", Credential(PASSWORD, "mallory", SECRET)),
                              ("unknown token", Credential(TOKEN, "", b"unknown"))):
        case(about, lambda: rejected(server, Client(credential, (), [spki]), "V4"))
    for about, value in (("altered", None), ("of zeros", bytes(256)), ("of one", bytes(255) + b"\1")):
        change = message(ClientHello, rsa_ciphertext=lambda was: flip(100)(was) if value is None else value)
        case(f"C12, a ciphertext {about}", lambda: stops(server, altered(Client, "hello", change)(
            GOOD, (), [spki]), "C12"))
        case(f"L6, a ciphertext {about}, and the client goes on", lambda: rejected(server, altered(
            Careless, "hello", change)(GOOD, (), [spki]), "V2"))
    for about, field in (("a version more", {"versions": lambda versions: versions + [9]}),
                         ("another nonce", {"nonce": flip(0)}), ("another share", {"key_shares": lambda shares: [
                             (exchange, flip(-1)(share)) for exchange, share in shares]}),
                         ("a suite struck", {"suites": lambda suites: suites[1:]}),
                         ("an extension more", {"extensions": lambda _: [(9, b"")]})):
        case(f"C12, {about} on the way", lambda: stops(server, altered(Client, "hello", message(ClientHello, **field))(
            GOOD, (), [spki]), "C12"))
    for about, field in (("another challenge", {"nonce": flip(0)}), ("a proof altered", {"proof": flip(0)}),
                         ("another kind", {"credential_kinds": lambda _: [PASSWORD]}),
                         ("an extension more", {"extensions": lambda had: had + [(9, b"")]})):
        case(f"C12, {about} on the way back", lambda: stops(server, hearing(message(ServerHello, **field))(
            GOOD, (), [spki]), "C12"))
    # A client that lies about its login knows what it sent, and can open the refusal.
    for rule, about, change in (
            ("L1", "a frame of another type", lambda data: b"\5"),
            ("L1", "a body too long", lambda data: b"\3\x16\x15"),
            ("L1", "a body too short", lambda data: b"\3\0\3"),
            ("L2", "a byte too many", body(lambda wrapped, sealed: wrapped + sealed + b"\0", 2)),
            ("L3", "a ciphertext", body(lambda _, sealed: lp(bytes(256)) + sealed, 2)),
            ("L3", "a byte", body(lambda _, sealed: lp(b"x") + sealed, 2)),
            ("L4", "a byte less", body(lambda wrapped, sealed: wrapped + b"\x01\x0f" + sealed[2:-1], 2)),
            ("L4", "nothing sealed", body(lambda wrapped, sealed: wrapped + b"\0\0", 2))):
        case(f"{rule}, {about}", lambda: rejected(
            server, lying(change, rule != "L1")(GOOD, (), [spki]), "V4"))
    case("L7, an altered credential", lambda: rejected(
        server, altered(Client, "on_server_hello", flip(-1))(GOOD, (), [spki]), "V2"))
    padded = Client(GOOD, (), [spki])
    padded.plaintext += bytes(256)
    case("L8, a block of padding too many", lambda: rejected(server, padded, "V4"))

    def played_again() -> None:
        """All that a client sent, by somebody else."""
        sent: list[bytes] = []

        class Recorded(Client):
            def hello(self) -> bytes:
                sent.append(super().hello())
                return sent[-1]

            def on_server_hello(self, received: bytes) -> bytes:
                sent.append(super().on_server_hello(received))
                return sent[-1]

        session(server, Recorded(GOOD, (), [spki]))
        with server.connect() as sock:
            sock.sendall(sent[0])
            stream = Stream(sock)
            expect("a proof", len(ServerHello.decode(stream.frame({SERVER_HELLO}, "C1")[3:]).proof), 32)
            sock.sendall(sent[1])
            expect("a verdict", len(stream.frame({SERVER_VERDICT}, "V1")), 2067)
            expect("after the verdict", rest(sock), b"")

    case("L7, a recorded hello and login", played_again)
    sixteen = [(number, b"") for number in RESERVED]
    for about, extensions in (("unknown", [(1, b"x"), (77, bytes(100)), (0xff00, b"")]), ("sixteen reserved", sixteen),
                              ("1024 bytes of", [(9, bytes(1020))])):
        for known in ([spki], []):
            case(f"{about} extensions{'' if known else ', and without'}", lambda: session(server, Client(
                GOOD, [key_id(spki)], known, draws=Draws(extensions=extensions))))


# ---- Logins ---------------------------------------------------------------------------------------------------------

def refusal_cases(report: Report, server: RustServer, pin: bytes) -> None:
    def wrong_pin() -> None:
        with server.connect() as sock:
            refused("T1", lambda: login(sock, Client(GOOD, [bytes(32)])))
            port = sock.getsockname()[1]
        server.wait(rf"(event=handshake-failed) peer=127.0.0.1:{port} ")

    def silent_login(cut: int) -> None:
        """The stream ends within the ClientLogin."""
        with server.connect() as sock:
            client = Client(GOOD, [pin])
            sock.sendall(client.hello())
            sock.sendall(client.on_server_hello(Stream(sock).frame({SERVER_HELLO}, "C1"))[:cut])
            sock.shutdown(socket.SHUT_WR)
            expect("the answer", rest(sock), b"")

    def refused_login(data: bytes) -> None:
        """These bytes in place of a ClientLogin are answered, without waiting for more."""
        with server.connect() as sock:
            sock.sendall(Client(GOOD, [pin]).hello())
            stream = Stream(sock)
            stream.frame({SERVER_HELLO}, "C1")
            sock.sendall(data)
            expect("the verdict", len(stream.frame({SERVER_VERDICT}, "V1")), 2067)
            expect("after the verdict", rest(sock), b"")

    def altered_ciphertext() -> None:
        """Altered on the way: the ServerHello is taken, and then both ends disagree."""
        change = message(ServerHello, key_share=flip(0))
        rejected(server, hearing(change)(GOOD, [pin], suites=[0x0301]), "V2")

    def other_context(which: str, **options: Any) -> None:
        with server.connect() as sock:
            why = refused("C11", lambda: login(sock, Client(GOOD, [pin], **options)))
            expect("which of the two", f"another {which}" in str(why), True)
            expect("after the ServerHello", rest(sock), b"")

    def covered_up() -> None:
        """Somebody on the way makes both believe that the prologue is the same."""
        class Deceived(hearing(message(ServerHello, context=lambda _: context(b"x", ("", b""))))):  # type: ignore[misc]
            def hello(self) -> bytes:
                sent = super().hello()
                return message(ClientHello, context=lambda _: context(b"", ("", b"")))(sent)

        rejected(server, Deceived(GOOD, [pin], prologue=b"x"), "V2")

    for name, credential in (("wrong password", Credential(PASSWORD, USER, b"wrong")),
                             ("unknown user", Credential(PASSWORD, "mallory", SECRET)),
                             ("unknown token", Credential(TOKEN, "", b"unknown"))):
        report.case(f"serve: {name}", lambda: rejected(server, Client(credential, [pin]), "V4"))
    report.case("serve: wrong pin", wrong_pin)
    report.case("serve: C11, another prologue", lambda: other_context("prologue", prologue=b"x"))
    report.case("serve: C11, a channel binding", lambda: other_context(
        "channel binding", binding=("tls-exporter", bytes(32))))
    report.case("serve: L6, another prologue, covered up", covered_up)
    for rule, change in (("L2", lambda login: frame(CLIENT_LOGIN, login[3:] + b"\0")),
                         ("L3", lambda login: login[:5] + b"\xff" * 256 + login[261:]),
                         ("L3", body(lambda _, sealed: lp(b"") + sealed, 258)),
                         ("L3", body(lambda _, sealed: lp(bytes(255)) + sealed, 258)),
                         ("L4", lambda login: frame(CLIENT_LOGIN, login[3:261] + b"\x01\x0f" + login[263:-1])),
                         ("L6", flip(260)), ("L7", flip(-1))):
        report.case(f"serve: {rule}", lambda: rejected(
            server, altered(Client, "on_server_hello", change)(GOOD, [pin]), "V2"))
    report.case("serve: an altered ciphertext", altered_ciphertext)
    report.case("serve: another ciphertext", lambda: rejected(
        server, receiving(flip(0))(GOOD, [pin], suites=[0x0301]), "V2"))
    for about, unusable in UNUSABLE.items():
        report.case(f"serve: C9, a joined share: {about}", lambda: stops(
            server, receiving(unusable)(GOOD, [pin], suites=[0x0301]), "C9"))
    padded = Client(GOOD, [pin])
    padded.plaintext += bytes(256)
    report.case("serve: L8, a block of padding too many", lambda: rejected(server, padded, "V4"))
    report.case("serve: L1, a frame of another type", lambda: refused_login(b"\x05"))
    report.case("serve: L1, a Confirm", lambda: refused_login(b"\x0a"))
    report.case("serve: L1, an impossible length", lambda: refused_login(b"\x03\x16\x15"))
    report.case("serve: L1, a length too short", lambda: refused_login(b"\x03\0\x03"))
    for cut in (0, 1, 300):
        report.case(f"serve: the stream ends {cut} bytes into the ClientLogin", lambda: silent_login(cut))


# ---- ClientHellos ---------------------------------------------------------------------------------------------------

def hello_cases(report: Report, server: RustServer, pin: bytes) -> None:
    def hello(*suites: int, **changes: Any) -> bytes:
        client = Client(GOOD, [pin], suites=suites or FORWARD_SECRET, draws=Draws(extensions=[]))
        return message(ClientHello, **{name: lambda _, value=value: value for name, value in changes.items()})(
            client.hello())

    def chooses(suite: int, data: bytes) -> None:
        """The server's choice for this ClientHello is version 1 and this suite."""
        with server.connect() as sock:
            sock.sendall(data)
            chosen = ServerHello.decode(Stream(sock).frame({SERVER_HELLO}, "C1")[3:])
            expect("the choice", (chosen.version, chosen.suite), (1, suite))

    def silent(*data: bytes, ends: bool = False) -> None:
        """The server closes and says nothing."""
        with server.connect() as sock:
            sock.sendall(b"".join(data))
            if ends:
                sock.shutdown(socket.SHUT_WR)
            expect("the answer", rest(sock), b"")

    share, joined = (2, X25519.offer(fresh())), client_share(3, Draws().exchanges[3])
    report.case("serve: of all suites, 0301", lambda: chooses(0x0301, hello(*AEADS)))
    report.case("serve: of those without ML-KEM, 0201", lambda: chooses(0x0201, hello(0x0202, 0x0201)))
    report.case("serve: unknown versions and suites are skipped", lambda: chooses(
        0x0201, hello(versions=[7, 1], suites=[0x0a0b, 0x0202, 0x0201], key_shares=[(10, b"?"), share])))
    report.case("serve: key shares in another order", lambda: chooses(0x0301, hello(key_shares=[(3, joined), share])))
    report.case("serve: an unusable share of a key exchange that is not picked", lambda: chooses(
        0x0301, hello(key_shares=[(2, bytes(32)), (3, joined)])))
    report.case("serve: the largest coefficient, 3328", lambda: chooses(
        0x0301, hello(0x0301, key_shares=[(3, coefficient(joined, 0, 3328))])))
    report.case("serve: a ciphertext of any length for another key", lambda: chooses(
        0x0301, hello(known_keys=[bytes(32), pin], rsa_ciphertext=b"x")))
    report.case("serve: the stream ends within the ClientHello", lambda: silent(hello()[:-1], ends=True))
    for kind in (0, 2, 3, 10):
        report.case(f"serve: S1, a frame of type {kind}", lambda: silent(bytes([kind])))
    report.case("serve: S1, a length too long", lambda: silent(b"\x01\x18\x85"))
    report.case("serve: S1, a length too short", lambda: silent(b"\x01\x00\x34"))
    report.case("serve: S2", lambda: silent(frame(CLIENT_HELLO, hello()[3:] + b"\0")))
    for rule, changes in (("S3", {"versions": []}), ("S4", {"key_shares": [share, share]}),
                          ("S4", {"known_keys": [pin, pin]}), ("S4", {"extensions": [(9, b""), (9, b"")]}),
                          ("S5", {"suites": [0x0201, 0x0301]}), ("S6", {"server_name": "a b"}),
                          ("S7", {"versions": [2]}), ("S8", {"suites": [0x0209]}),
                          ("S9", {"key_shares": [(2, bytes(32))]}), ("S9", {"key_shares": [(2, joined)]}),
                          ("S11", {"ticket": bytes(MAX_TICKET + 1), "binder": bytes(BINDER)}),
                          ("S11", {"ticket": b"ticket"}), ("S11", {"binder": bytes(BINDER)}),
                          ("S11", {"ticket": b"ticket", "binder": bytes(BINDER - 1)}),
                          ("S12", {"server_name": "elsewhere.example"}), ("S13", {"extensions": [(9, bytes(1021))]}),
                          ("S2", {"extensions": [(number, b"") for number in range(17)]}),
                          ("S14", {"rsa_ciphertext": bytes(256)}), ("S14", {"rsa_ciphertext": b"x"}),
                          ("S15", {"known_keys": [pin], "rsa_ciphertext": bytes(255)}),
                          ("S15", {"known_keys": [pin], "rsa_ciphertext": bytes(257)}),
                          ("S15", {"known_keys": [pin], "rsa_ciphertext": b"\xff" * 256})):
        data = hello(0x0201, **changes)
        report.case(f"serve: {rule}, {', '.join(changes)}", lambda: silent(data))
    for about, unusable in UNUSABLE_CLIENTS.items():
        report.case(f"serve: S9, a joined share: {about}", lambda: silent(
            hello(0x0301, key_shares=[(3, unusable(joined))])))


# ---- Records and deadlines ------------------------------------------------------------------------------------------

def record_cases(report: Report, server: RustServer, pin: bytes) -> None:
    def updates() -> None:
        with server.login(Client(GOOD, [pin])) as channel:
            text, lines = b"x" * 4000, channel.lines()
            for _ in range(2):
                channel.send(b"echo " + text[:1000])
                channel.update_key()
                channel.update_key()
                channel.send(text[1000:] + b"\n")
                expect("the answer", next(lines), text)
            channel.finish()

    def broken(change: Callable[[bytes], bytes]) -> None:
        with server.login(Client(GOOD, [pin])) as channel:
            channel.stream.write(change(channel.session.outgoing.seal(DATA, b"whoami\n")))
            expect("the answer", rest(channel.stream.sock), b"")

    report.case("serve: key updates within a line", updates)
    report.case("serve: R1, an impossible length", lambda: broken(lambda record: b"\x05\x00\x10"))
    report.case("serve: R2, an altered record", lambda: broken(flip(3)))

    def first_update() -> None:
        with server.login(Client(GOOD, [pin])) as channel:
            channel.stream.write(unused_update(channel.session.outgoing))
            expect("the answer", rest(channel.stream.sock), b"")

    report.case("serve: R6, an update of an unused key", first_update)


def deadline_cases(report: Report, command: Command, name: str) -> None:
    def silent(data: bytes, answers: bool) -> None:
        with server.connect() as sock:
            sock.sendall(Client(GOOD).hello() + data if answers else data)
            if answers:
                Stream(sock).frame({SERVER_HELLO}, "C1")
            expect("the answer", rest(sock), b"")

    with RustServer(command, f"{name}.pem", "1s") as server:
        report.case("serve: the deadline passes before the ClientHello", lambda: silent(b"", False))
        report.case("serve: the deadline passes within the ClientLogin", lambda: silent(b"\x03\x02\x14", True))
