"""`countersign login` comes back to the Python server."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from cryptography.hazmat.primitives.asymmetric import rsa

from command import PERMISSIONS, SECRET, USER, Command, PeerServer, answer, converse, hang_up
from countersign import (BUSY, FORWARD_SECRET, NOT_NOW, REJECT, SERVER_RESUMPTION, Account, ClientHello,
                         Credential, Server, ServerResumption, Tickets, Verdict, fingerprint, frame, key_id,
                         spki_of)
from meeting import Judging, altered, bad_verdicts, flip, message
from report import Report, expect
from shares import UNUSABLE
from sockets import Channel


def ticket_cases(report: Report, command: Command, key: rsa.RSAPrivateKey,
                 verify: Callable[[Credential], Optional[Verdict]]) -> None:
    new_key = rsa.generate_private_key(65537, 2048)
    trust = tuple(word for each in (key, new_key)
                  for word in ("--pin", fingerprint(key_id(spki_of(each.public_key())))))

    class Visits:
        """A server at one address, the folder where the client keeps what it remembers, and the account."""

        def __init__(self, **options: Any):
            self.state, self.port = command.state(), 0
            self.options = {"tickets": Tickets(), "key": key, "names": None, **options}
            self.accounts = {USER: Account(1, PERMISSIONS)}

        def visit(self, status: Optional[int], outcome: str, base: Any = Server, secret: bytes = SECRET,
                  args: tuple[str, ...] = (), talk: Callable[[Channel], None] = converse, user: str = USER,
                  **options: Any) -> Any:
            """One login. Gives the first of the server's ends, with the ClientHello that it heard."""
            sent, made = ("whoami", "echo x", "quit"), list[Any]()

            class Listening(base):  # type: ignore[misc]
                def on_client_hello(self, received: bytes) -> bytes:
                    self.heard = ClientHello.decode(received[3:])
                    answered: bytes = super().on_client_hello(received)
                    return answered

            def make() -> Server:
                made.append(Listening(verify=verify, account=self.accounts.get, **{**self.options, **options}))
                return made[-1]  # type: ignore[no-any-return]

            with PeerServer(make, talk, self.port) as peer:
                self.port = peer.port
                resume = () if "--no-resume" in args else ("--resume",)
                done = command.run("login", "--server", peer.address, "--user", user, "--password-stdin", *resume,
                                   *trust, *args,
                                   *(word for line in sent for word in ("--send", line)),
                                   stdin=secret + b"\n", status=status, state=self.state)
            expect("the server's ends", peer.outcome, outcome)
            if status == 0:
                answers = [answer(line.encode()) for line in sent[:-1]] + [b"bye"]
                expect("the answers", done.stdout.splitlines(), answers)
                expect("the session id is on stderr", peer.session_id in done.stderr.decode(), True)
            return made[0]

    def case(about: str, step: Callable[[], object]) -> None:
        report.case(f"login, {about}", step)

    def keeps_the_key() -> None:
        """Told it once, the client wants a proof from then on."""
        visits = Visits(tickets=None)
        first = visits.visit(0, "accepted")
        expect("at first: known keys, ciphertext", (first.heard.known_keys, first.heard.rsa_ciphertext), ([], b""))
        second = visits.visit(0, "accepted")
        expect("then: known keys", second.heard.known_keys, [key_id(spki_of(key.public_key()))])
        expect("and a ciphertext", len(second.heard.rsa_ciphertext), 256)
        visits.visit(3, "ended", proves=False)

    def new_server_key() -> None:
        """The client trusts both: it is told the new one, and comes again."""
        visits = Visits(tickets=None)
        visits.visit(0, "accepted")
        visits.visit(0, "ended accepted", key=new_key)
        third = visits.visit(0, "accepted", key=new_key)
        expect("the first known key", third.heard.known_keys[0], key_id(spki_of(new_key.public_key())))

    case("it keeps the key that it was told", keeps_the_key)
    case("T4, the server has a new key", new_server_key)

    def in_a_row(**options: Any) -> None:
        visits = Visits(**options)
        visits.visit(0, "accepted")
        for _ in range(3):
            visits.visit(0, "resumed", secret=b"not the password")
        for folder, _, names in os.walk(visits.state):
            for name in names:
                path = Path(folder, name)
                expect(f"the permissions of {name}", path.stat().st_mode & 0o077, 0)

    def falls_back(rule: str, change: Callable[[Visits], Any] = lambda visits: None, **options: Any) -> None:
        """The ticket is not taken: the client has kept the key, so T4, and then a login with a proof. It brings a
        ticket that is taken."""
        visits = Visits()
        visits.visit(0, "accepted")
        change(visits)
        server = visits.visit(0, "ended accepted", **options)
        expect("why the ticket was not taken", server.not_taken and server.not_taken.rule, rule)
        visits.visit(0, "resumed", secret=b"not the password", **options)

    def used() -> None:
        """The client's memory is put back, so it shows a ticket that it has used."""
        visits = Visits()
        visits.visit(0, "accepted")
        shutil.copytree(visits.state, visits.state + "-before")
        visits.visit(0, "resumed")
        visits.state += "-before"
        server = visits.visit(0, "ended accepted")
        expect("why the ticket was not taken", server.not_taken and server.not_taken.rule, "K6")

    def without() -> None:
        visits = Visits()
        visits.visit(0, "accepted")
        expect("the ticket shown", visits.visit(0, "accepted", args=("--no-resume",)).heard.ticket, b"")

    def none_given() -> None:
        visits = Visits(tickets=None)
        visits.visit(0, "accepted")
        expect("the ticket shown", visits.visit(0, "accepted").heard.ticket, b"")

    def other_user() -> None:
        visits = Visits()
        visits.visit(0, "accepted")
        expect("the ticket shown", visits.visit(1, "L10", user="mallory").heard.ticket, b"")
        visits.visit(0, "resumed", secret=b"not the password")

    def other_context() -> None:
        visits = Visits()
        visits.visit(0, "accepted")
        server = visits.visit(5, "context", prologue=b"another")
        expect("why the ticket was not taken", server.not_taken and server.not_taken.rule, "K11")

    def refuses(base: Any, status: int = 5, outcome: str = "ended", **options: Any) -> None:
        """And the ticket is not shown again."""
        visits = Visits(**options)
        visits.visit(0, "accepted")
        shown = visits.visit(status, outcome, base, talk=hang_up).heard.ticket
        expect("a ticket was shown", bool(shown), True)
        expect("the ticket shown again", visits.visit(0, "accepted").heard.ticket, b"")

    def raw(change: Callable[[bytes], bytes], method: str = "on_client_hello") -> Any:
        return altered(Server, method, change)

    def resumption(**changes: Callable[[Any], Any]) -> Any:
        return raw(message(ServerResumption, **changes))

    def busy() -> None:
        """Nobody has seen the ticket that could use it, but it is not shown again: whoever said so may have it."""
        visits = Visits()
        visits.visit(0, "accepted")
        visits.visit(7, "busy", busy=77)
        expect("the ticket shown again", visits.visit(0, "accepted").heard.ticket, b"")

    def judging(said_: bytes) -> Any:
        """A ServerResumption with this verdict."""
        class Judge(Judging):
            said = said_

        return Judge

    def late(visits: Visits) -> None:
        visits.options["tickets"].clock = lambda: time.time() + 3601

    def rotated(visits: Visits) -> None:
        for _ in range(2):
            visits.options["tickets"].rotate()

    for suite in FORWARD_SECRET:
        case(f"tickets: in a row, suite {suite:04x}", lambda: in_a_row(suites=[suite]))
    case("tickets: in a row, for more than single use", lambda: in_a_row(tickets=Tickets(single_use=False)))
    case("tickets: K1, the server's keys are others", lambda: falls_back(
        "K1", lambda visits: visits.options.update(tickets=Tickets())))
    case("tickets: K1, its key was retired", lambda: falls_back("K1", rotated))
    case("tickets: K2, expired by the server's clock", lambda: falls_back("K2", late))
    case("tickets: K4, its suite is not taken", lambda: falls_back("K4", suites=[0x0202]))
    case("tickets: K5, the server has a new key", lambda: falls_back("K5", key=new_key))
    case("tickets: K6, used before", used)
    case("tickets: K7, the account has changed", lambda: falls_back(
        "K7", lambda visits: visits.accounts.update({USER: Account(2, PERMISSIONS)})))
    case("tickets: K11, another prologue", other_context)
    case("tickets: --no-resume", without)
    case("tickets: the server gives none", none_given)
    case("tickets: not for another user", other_user)
    case("tickets: A8, busy", busy)
    case("tickets: A8, a Busy that is none", lambda: refuses(raw(lambda data: frame(BUSY, b"\0\1\0\0"))))
    for about, change in (("a frame of another type", lambda data: b"\4" + data[1:]),
                          ("a Confirm", lambda data: b"\x0a" + data[1:]), ("too short", lambda data: b"\x08\x08\x36"),
                          ("too long", lambda data: b"\x08\x4e\x38")):
        case(f"tickets: A1, {about}", lambda: refuses(raw(change)))
    case("tickets: A2, a byte too many", lambda: refuses(raw(lambda data: frame(SERVER_RESUMPTION, data[3:] + b"\0"))))
    for rule, about, changes in (
            ("A2", "an extension twice", {"extensions": lambda _: [(9, b""), (9, b"")]}),
            ("A2", "a byte too many of extensions", {"extensions": lambda _: [(9, bytes(16381))]}),
            ("A3", "a version that was not offered", {"version": lambda _: 2}),
            ("A3", "another suite", {"suite": lambda suite: suite ^ 3}),
            ("A5", "an altered verdict", {"sealed_verdict": flip(0)}), ("A5", "an altered nonce", {"nonce": flip(0)}),
            ("A5", "an extension more", {"extensions": lambda had: had + [(9, b"")]})):
        case(f"tickets: {rule}, {about}", lambda: refuses(resumption(**changes)))
    case("tickets: A4, a share of zeros", lambda: refuses(resumption(key_share=lambda _: bytes(32)), suites=[0x0201]))
    case("tickets: A4, no share", lambda: refuses(resumption(key_share=lambda _: b""), suites=[0x0201]))
    for about, unusable in UNUSABLE.items():
        case(f"tickets: A4, a joined share: {about}", lambda: refuses(resumption(key_share=unusable), suites=[0x0301]))
    case("tickets: A5, another ciphertext", lambda: refuses(raw(flip(0), "exchange"), suites=[0x0301]))
    for about, said in {**bad_verdicts(), "a reject": Verdict(REJECT).encode_padded(),
                        "a not now": Verdict(NOT_NOW).encode_padded()}.items():
        case(f"tickets: A6, {about}", lambda: refuses(judging(said)))
