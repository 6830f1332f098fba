"""`countersign login` and the Python server: logins, and what the client must refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Optional

from cryptography.hazmat.primitives.asymmetric import rsa

from command import (GOOD, PERMISSIONS, SECRET, USER, Command, PeerServer, answer, changed, confirming, converse,
                     hang_up, truncated, updating, updating_unused)
from countersign import (ACCEPT, AEADS, BUSY, FORWARD_SECRET, NOT_NOW, PUZZLE, REJECT, RESERVED, SERVER_HELLO,
                         TOKEN, Busy, ClientHello, Credential, Draws, Server, ServerHello, Verdict, fingerprint, frame,
                         fresh, key_id, spki_of)
from login_ticket_cases import ticket_cases
from meeting import OTHER_PIN, OTHER_SPKI, Sealing, TwoKeys, altered, bad_verdicts, flip, judge, message, padded
from report import Report, expect
from shares import UNUSABLE, UNUSABLE_CLIENTS
from sockets import Channel


def server_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey, token: bytes) -> None:
    pin = fingerprint(key_id(spki_of(key.public_key())))
    pinned, whole = ("--pin", pin), ("--server-key", f"{name}.pub.pem")

    def verify(credential: Credential) -> Optional[Verdict]:
        return Verdict(ACCEPT, USER, PERMISSIONS) if credential in (GOOD, Credential(TOKEN, "", token)) else None

    def case(about: str, status: Optional[int], outcome: str, *, base: Any = Server, secret: bytes = SECRET,
             who: tuple[str, ...] = ("--user", USER, "--password-stdin"), trust: tuple[str, ...] = pinned,
             talk: Callable[[Channel], None] = converse, also: Callable[[Server], None] = lambda server: None,
             says: str = "", check: Any = verify, **options: Any) -> None:
        """`outcome` is the server's; `says` is among what the command says on stderr."""
        def step() -> None:
            sent, made = ("whoami", "echo x", "quit"), list[Server]()

            def make() -> Server:
                made.append(base(key, check, **{"names": None, **options}))
                return made[-1]

            with PeerServer(make, talk) as peer:
                done = command.run("login", "--server", peer.address, *who, *trust,
                                   *(word for line in sent for word in ("--send", line)),
                                   stdin=secret + b"\n", status=status)
            expect("the server's end", peer.outcome, outcome)
            expect(f"{says!r} is on stderr", says.lower() in done.stderr.decode().lower(), True)
            if status == 0:
                answers = [answer(line.encode()) for line in sent[:-1]] + [b"bye"]
                expect("the answers", done.stdout.splitlines(), answers)
                expect("the session id is on stderr", peer.session_id in done.stderr.decode(), True)
            also(made[0])

        report.case(f"login, {about}", step)

    for suite in FORWARD_SECRET:
        case(f"{name} key, suite {suite:04x}", 0, "accepted", suites=[suite])
        case(f"{name} key, suite {suite:04x}, with a proof", 0, "accepted", suites=[suite], trust=whole)
    if name != "keygen":
        return

    class Listening(Server):
        """Keeps what it heard."""

        def on_client_hello(self, received: bytes) -> bytes:
            self.heard = ClientHello.decode(received[3:])
            self.said = super().on_client_hello(received)
            return self.said

        def on_client_login(self, received: bytes) -> Any:
            self.login = received
            return super().on_client_login(received)

    def offered(server: Any) -> None:
        heard = server.heard
        expect("the suites", heard.suites, list(FORWARD_SECRET))
        shares = dict(heard.key_shares)
        expect("the sizes of the shares", {exchange: len(share) for exchange, share in shares.items()},
               {2: 32, 3: 1184 + 32})
        expect("an X25519 key serves two shares", shares[3].endswith(shares[2]), False)
        expect("known keys, ciphertext, ticket", (heard.known_keys, heard.rsa_ciphertext, heard.ticket), ([], b"", b""))

    def proved(server: Any) -> None:
        expect("known keys", server.heard.known_keys, [key_id(spki_of(key.public_key()))])
        expect("the ciphertext in the hello", len(server.heard.rsa_ciphertext), 256)
        expect("the bytes of spki", len(ServerHello.decode(server.said[3:]).spki), 0)
        expect("the ciphertext in the login", server.login[3:5], b"\0\0")

    case("its offer", 0, "accepted", base=Listening, suites=AEADS, also=offered)
    case("a token", 0, "accepted", secret=token, who=("--token-stdin",))
    case("a token, with a proof", 0, "accepted", secret=token, who=("--token-stdin",), trust=whole)
    case("the whole key given", 0, "accepted", base=Listening, trust=whole, also=proved)
    for about, trust in (("", pinned), (", with a proof", whole)):
        case(f"wrong password{about}", 1, "L10", secret=b"wrong", trust=trust)
        case(f"unknown user{about}", 1, "L10", who=("--user", "mallory", "--password-stdin"), trust=trust)
        case(f"V6, a not now{about}", 8, "not now", check=lambda _: Verdict(NOT_NOW), trust=trust)
        case(f"C14, busy{about}", 7, "busy", busy=77, says="77", trust=trust)
        case(f"C11, another prologue{about}", 5, "context", prologue=b"another", says="prologue", trust=trust)
        case(f"C11, a channel binding{about}", 5, "context", binding=("tls-exporter", bytes(32)), says="binding",
             trust=trust)
        for what, extensions in (("unknown", [(1, b"x"), (77, bytes(100)), (0xff00, b"")]),
                                 ("sixteen reserved", [(number, b"") for number in RESERVED]),
                                 ("16384 bytes of", [(9, bytes(16380))])):
            case(f"{what} extensions{about}", 0, "accepted", draws=Draws(extensions=extensions), trust=trust)
    case("wrong pin", 3, "ended", trust=("--pin", fingerprint(bytes(32))))
    if command.has("login", "--server-name"):
        case("S12, the server goes by another name", 4, "S12", names=["elsewhere.example"],
             trust=pinned + ("--server-name", "db.example"))
        case("the server goes by this name", 0, "accepted", names=["db.example"],
             trust=pinned + ("--server-name", "db.example"))
    else:
        report.left_out("server names")
    case("the server takes tokens only", 6, "ended", kinds=[TOKEN])
    case("the server takes RSA alone", 4, "S8", suites=[0x0101, 0x0102])

    def receives(change: Callable[[bytes], bytes]) -> type[Server]:
        """A server that takes another share than what came."""
        class Receiving(Server):
            def exchange(self, suite: int, hello: ClientHello) -> tuple[bytes, bytes]:
                share = change(dict(hello.key_shares)[suite >> 8])
                return super().exchange(suite, replace(hello, key_shares=[(suite >> 8, share)]))

        return Receiving

    for about, unusable in UNUSABLE_CLIENTS.items():
        case(f"S9: a joined share: {about}", 4, "S9", base=receives(unusable), suites=[0x0301])

    def hello(**changes: Callable[[Any], Any]) -> Any:
        return altered(Server, "on_client_hello", message(ServerHello, **changes))

    def raw(change: Callable[[bytes], bytes]) -> Any:
        return altered(Server, "on_client_hello", change)

    for kind in (1, 4, 8, 10):
        case(f"C1: a frame of type {kind}", 5, "ended", base=raw(lambda data: bytes([kind])))
    case("C1: a length too short", 5, "ended", base=raw(lambda data: b"\x02\x00\x53"))
    case("C1: a length too long", 5, "ended", base=raw(lambda data: b"\x02\x4a\xbd"))
    case("C2: a byte too many", 5, "ended", base=raw(lambda data: frame(SERVER_HELLO, data[3:] + b"\0")))
    case("C2: seventeen extensions", 5, "ended", base=hello(extensions=lambda _: [(n, b"") for n in range(17)]))
    case("C3: a version that was not offered", 5, "ended", base=hello(version=lambda _: 2))
    case("C4: a suite that was not offered", 5, "ended", base=hello(suite=lambda _: 0x0101, key_share=lambda _: b""))
    case("C5: no credential kinds", 5, "ended", base=hello(credential_kinds=lambda _: []))
    case("C5: a kind twice", 5, "ended", base=hello(credential_kinds=lambda _: [1, 1]))
    case("C6: no key, and none listed", 5, "ended", base=hello(spki=lambda _: b""))
    case("C8: a changed key id", 5, "ended", base=hello(key_id=flip(0)))
    case("C9: a share of zeros", 5, "ended", base=hello(key_share=lambda _: bytes(32)), suites=[0x0201])
    for about, unusable in UNUSABLE.items():
        case(f"C9: a joined share: {about}", 5, "ended", base=hello(key_share=unusable), suites=[0x0301])
    case("C11: an altered context", 5, "ended", base=hello(context=flip(0)), says="prologue")
    case("C13: an extension twice", 5, "ended", base=hello(extensions=lambda _: [(9, b""), (9, b"")]))
    case("C13: a byte too many of extensions", 5, "ended", base=hello(extensions=lambda _: [(9, bytes(16381))]))
    for about, body in (("a byte too many", b"\0\1\0\0"),
                        ("an extension twice", Busy(1, [(9, b""), (9, b"")]).encode()),
                        ("a byte too many of extensions", Busy(1, [(9, bytes(1021))]).encode())):
        case(f"C14: a Busy that is none: {about}", 5, "ended", base=raw(lambda data: frame(BUSY, body)))
    case("C14: a Busy with an extension", 7, "ended", says="77", base=raw(
        lambda data: frame(BUSY, Busy(77, [(9, b"unknown")]).encode())))

    # Puzzles.
    for about, trust in (("", pinned), (", with a proof", whole)):
        case(f"a puzzle{about}", 0, "accepted", puzzle=6, trust=trust)
        case(f"B1: too hard a puzzle{about}", 7, "ended", puzzle=18, says="77", trust=trust)
        case(f"a puzzle, and then no room{about}", 7, "ended", puzzle=4, says="5", trust=trust, base=altered(
            Server, "on_solution", lambda data: frame(BUSY, Busy(5).encode())))
        case(f"B1: a second puzzle{about}", 7, "ended", puzzle=4, says="5", trust=trust, base=altered(
            Server, "on_solution", lambda data: frame(BUSY, Busy(5, [(PUZZLE, b"\4" + fresh())]).encode())))
    for what, data in (("no bits", b"\0" + bytes(32)), ("too many bits", b"\31" + bytes(32)),
                       ("a byte too few", b"\4" + bytes(31)), ("a byte too many", b"\4" + bytes(33)), ("nothing", b"")):
        case(f"B1: no puzzle: {what}", 7, "ended", says="77", base=raw(
            lambda _: frame(BUSY, Busy(77, [(PUZZLE, data)]).encode())))

    # The proof.
    case("C12: a proof, and nothing was sealed", 3, "ended", base=hello(proof=lambda _: fresh()))
    for about, changes in (
            ("other bytes", {"proof": flip(0)}), ("a byte too few", {"proof": lambda proof: proof[:-1]}),
            ("a byte too many", {"proof": lambda proof: proof + b"\0"}), ("another challenge", {"nonce": flip(0)}),
            ("another suite", {"suite": lambda suite: suite ^ 3}), ("another share", {"key_share": flip(0)}),
            ("another kind", {"credential_kinds": lambda _: [1]}),
            ("an extension more", {"extensions": lambda had: had + [(9, b"")]})):
        case(f"C12: {about}", 3, "ended", base=hello(**changes), trust=whole)
    case("C12: under another key, that is trusted", 3, "ended", trust=whole + ("--pin", fingerprint(OTHER_PIN)),
         base=hello(key_id=lambda _: OTHER_PIN, spki=lambda _: OTHER_SPKI))
    case("C12: a secret that did not open", 3, "ended", base=Sealing, trust=whole)
    case("C12: a right proof of another key than the server's", 3, "ended", base=TwoKeys,
         trust=whole + ("--pin", fingerprint(OTHER_PIN)))
    case("T4: no proof", 3, "ended", proves=False, trust=whole)
    case("T4: a proof taken away", 3, "ended", base=hello(proof=lambda _: b""), trust=whole)
    case("T1: another key than the one that was given whole", 3, "ended", trust=whole, base=hello(
        key_id=lambda _: OTHER_PIN, spki=lambda _: OTHER_SPKI, proof=lambda _: b""))

    case("a changed suite", 5, "L6", base=hello(suite=lambda suite: suite ^ 3))
    case("a changed challenge", 5, "L6", base=hello(nonce=flip(0)))
    case("a changed ciphertext", 5, "L6", base=hello(key_share=flip(0)), suites=[0x0301])
    case("another ciphertext", 5, "L7", base=altered(Server, "exchange", flip(0)), suites=[0x0301])
    for about, trust in (("", pinned), (", with a proof", whole)):
        case(f"V1: a verdict of another length{about}", 5, "accepted", talk=hang_up, trust=trust, base=altered(
            Server, "on_client_login", lambda data: data[:2] + b"\x11"))
        case(f"V1: a Busy{about}", 5, "accepted", talk=hang_up, trust=trust, base=altered(
            Server, "on_client_login", lambda data: frame(BUSY, Busy(1).encode())))
        case(f"V2: a changed verdict{about}", 5, "accepted", talk=hang_up, trust=trust, base=altered(
            Server, "on_client_login", flip(3)))
        case(f"no verdict{about}", 4, "accepted", talk=hang_up, trust=trust, base=altered(
            Server, "on_client_login", lambda data: b""))
        case(f"V4, with an extension{about}", 1, "L10", trust=trust, secret=b"wrong",
             base=judge(padded(Verdict(REJECT, extensions=[(9, b"x")]).encode())))
        case(f"V6, with an extension{about}", 8, "accepted", trust=trust, talk=hang_up,
             base=judge(padded(Verdict(NOT_NOW, extensions=[(9, b"x")]).encode())))
    case("an accept with an extension", 0, "accepted", base=judge(padded(
        Verdict(ACCEPT, USER, PERMISSIONS, extensions=[(RESERVED[3], b"")]).encode())))
    for about, said in bad_verdicts().items():
        case(f"V3: {about}", 5, "accepted", talk=hang_up, base=judge(said))
    case("the deadline passes before the ServerHello", 4, "ended", trust=("--pin", pin, "--timeout", "1s"),
         base=raw(lambda data: b""))
    case("key updates", 0, "accepted", talk=updating)
    case("R1: a Confirm in a session", 5, "accepted", talk=confirming)
    case("R2: a changed record", 5, "accepted", talk=changed)
    case("R4: no Close", 4, "accepted", talk=truncated)
    case("R6: an update of an unused key", 5, "accepted", talk=updating_unused)
    ticket_cases(report, command, key, verify)
