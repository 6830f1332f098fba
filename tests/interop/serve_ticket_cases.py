"""The Python client comes back to `countersign serve` with a ticket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Optional

from cryptography.hazmat.primitives.asymmetric import rsa

from command import GOOD, NAME, USER, Command, RustServer, rest
from countersign import (CLIENT_HELLO, CONFIRM, FORWARD_SECRET, MAX_TICKET, PASSWORD, SERVER_HELLO, SERVER_RESUMPTION,
                         TOKEN, Client, ClientHello, Credential, ServerResumption, Session, Ticket, frame, key_id, spki_of)
from meeting import altered, flip, message, rebound
from report import Report, expect, refused
from shares import UNUSABLE, UNUSABLE_CLIENTS, receiving
from sockets import Stream, login

NO_CREDENTIAL = Credential(PASSWORD, USER, b"not the password")  # a full login fails with it
Logs = Callable[[RustServer, Client], Session]


def resumption_cases(report: Report, command: Command, server: RustServer, key: rsa.RSAPrivateKey, token: bytes,
                     session: Logs) -> None:
    spki = spki_of(key.public_key())
    pin = key_id(spki)

    def case(about: str, step: Callable[[], object]) -> None:
        report.case(f"serve, tickets: {about}", step)

    def ticket(credential: Credential = GOOD, at: RustServer = server, **options: Any) -> Ticket:
        """That of a full login."""
        with at.login(Client(credential, [pin], **options)) as channel:
            channel.finish()
            expect("resumed", channel.session.resumed, False)
            assert channel.session.ticket, "no ticket"
            return channel.session.ticket

    def comes_back(client: Client, resumed: bool, at: RustServer = server) -> Optional[Ticket]:
        """Logs in, with a few lines, by the ticket or without it."""
        assert client.ticket, "the ticket is not shown"
        ended = session(at, client)
        expect("resumed", ended.resumed, resumed)
        return ended.ticket

    def in_a_row(credential: Credential, suite: int, **more: Any) -> None:
        named = NAME if command.names() else ""
        options: dict[str, Any] = {"suites": [suite], "server_name": named, **more}
        shown: Optional[Ticket] = ticket(credential, **options)
        seen, wrong = [], replace(credential, secret=b"not it")
        for _ in range(3):
            assert shown, "no ticket"
            seen.append(shown.ticket)
            shown = comes_back(Client(wrong, [pin], ticket=shown, **options), True)
        expect("different tickets", len(set(seen)), 3)
        expect("the sizes of the tickets", len({len(each) for each in seen}), 1)

    def one_size() -> None:
        """Whatever the names."""
        sizes = {len(ticket().ticket)}
        for user in ("b", "x" * 255):
            command.run("user", "add", user, "--users", "users.txt", "--password-stdin", stdin=b"password\n")
            sizes.add(len(ticket(Credential(PASSWORD, user, b"password")).ticket))
            command.run("user", "remove", user, "--users", "users.txt")
        if command.names():
            sizes.add(len(ticket(server_name=NAME).ticket))
        expect("sizes", len(sizes), 1)

    def lifetime() -> None:
        with RustServer(command, "keygen.pem", "60s", "--ticket-lifetime", "300s") as other:
            expect("seconds", ticket(at=other).lifetime, 300)

    def none() -> None:
        with RustServer(command, "keygen.pem", "60s", "--ticket-lifetime", "0s") as other:
            with other.login(Client(GOOD, [pin])) as channel:
                channel.finish()
                verdict = channel.session.verdict
        expect("the ticket", (verdict.ticket, verdict.ticket_lifetime), (b"", 0))

    def other_server() -> None:
        shown = ticket()
        with RustServer(command, "keygen.pem") as other:
            comes_back(Client(GOOD, [pin], ticket=shown), False, other)

    def again() -> None:
        """A ticket is good once; its successor is not harmed."""
        shown = ticket()
        copy = replace(shown)
        following = comes_back(Client(NO_CREDENTIAL, [pin], ticket=shown), True)
        comes_back(Client(GOOD, [pin], ticket=copy), False)
        comes_back(Client(NO_CREDENTIAL, [pin], ticket=following), True)

    def unconfirmed(junk: Callable[[bytes], bytes], first: bool) -> None:
        """A ClientHello, and then no Confirm that opens: that is all they ever get."""
        client = Client(NO_CREDENTIAL, [pin], ticket=ticket())
        hello = client.hello()
        if not first:
            comes_back(client, True)  # with the same bytes: its draws are drawn once
        with server.connect() as sock:
            port = sock.getsockname()[1]
            sock.sendall(hello)
            stream = Stream(sock)
            data = stream.frame({SERVER_HELLO, SERVER_RESUMPTION}, "A1")
            expect("the answer", data[0], SERVER_RESUMPTION if first else SERVER_HELLO)
            if first:
                sock.sendall(junk(client.on_server_resumption(data)[0]))
                with suppress(OSError):  # the server may have hung up on what it was sent
                    sock.shutdown(socket.SHUT_WR)
                expect("after the resumption", rest(sock), b"")
                server.wait(rf"(event=handshake-failed) .*peer=127.0.0.1:{port} ")  # it never was a login

    def at_once() -> None:
        """The Confirm, and the first records in the same write."""
        client = Client(NO_CREDENTIAL, [pin], ticket=ticket())
        with server.connect() as sock:
            sock.sendall(client.hello())
            stream = Stream(sock)
            confirm, ours = client.on_server_resumption(stream.frame({SERVER_RESUMPTION}, "A1"))
            sock.sendall(confirm + ours.outgoing.seal(5, b"quit\n") + ours.outgoing.seal(7))
            expect("the answer", ours.incoming.open(stream.frame({5}, "R1")), b"bye\n")

    def fallback(change: Callable[[Client], Any], **options: Any) -> None:
        """Something is wrong with what is shown: a ServerHello comes, and the login goes on with it."""
        client = Client(GOOD, [pin], **options)
        client.ticket = ticket()
        change(client)
        comes_back(client, False)

    def ticket_of(change: Callable[[bytes], bytes]) -> Callable[[Client], None]:
        def changes(client: Client) -> None:
            assert client.ticket
            client.ticket.ticket = change(client.ticket.ticket)

        return changes

    def wrong_secret(client: Client) -> None:
        assert client.ticket
        client.ticket.secret = bytes(32)

    def stops(rule: str, base: Any, **options: Any) -> None:
        with server.connect() as sock:
            refused(rule, lambda: login(sock, base(NO_CREDENTIAL, [pin], **options)))

    def altered_hello(change: Callable[[bytes], bytes], **options: Any) -> None:
        """Changed on the way, after the binder was made: the ticket is not taken, and then both ends disagree."""
        stops("V2", altered(Client, "hello", change), ticket=ticket(), **options)

    def unusable_share(change: Callable[[bytes], bytes]) -> None:
        """The ticket is good, and the binder is right."""
        shown = ticket(suites=[0x0301])
        change_hello = rebound(shown, key_shares=lambda shares: [(3, change(dict(shares)[3]))])[CLIENT_HELLO]
        with server.connect() as sock:
            sock.sendall(change_hello(Client(NO_CREDENTIAL, [pin], suites=[0x0301], ticket=shown).hello()))
            expect("the answer", rest(sock), b"")

    def heard(rule: str, **changes: Callable[[Any], Any]) -> None:
        """The ServerResumption is changed on the way."""
        class Hearing(Client):
            def on_server_resumption(self, received: bytes) -> tuple[bytes, Session]:
                return super().on_server_resumption(message(ServerResumption, **changes)(received))

        stops(rule, Hearing, suites=[0x0201], ticket=ticket(suites=[0x0201]))

    def other_share(rule: str, change: Callable[[bytes], bytes]) -> None:
        """Of the server's."""
        stops(rule, receiving(change), suites=[0x0301], ticket=ticket(suites=[0x0301]))

    def changed_account() -> None:
        """Tickets die with any change of the account."""
        def bob(password: bytes, shown: Optional[Ticket] = None) -> Session:
            with server.login(Client(Credential(PASSWORD, "bob", password), [pin], ticket=shown)) as channel:
                channel.finish()
                return channel.session

        command.run("user", "add", "bob", "--users", "users.txt", "--password-stdin", stdin=b"the first one\n")
        first = bob(b"the first one")
        renewed_at_once = bob(b"?", first.ticket)
        expect("resumed", renewed_at_once.resumed, True)
        command.run("user", "passwd", "bob", "--users", "users.txt", "--password-stdin", stdin=b"the second one\n")
        refused("V4", lambda: bob(b"the first one", renewed_at_once.ticket))
        renewed = bob(b"the second one")
        following = bob(b"?", renewed.ticket)
        expect("resumed with the new ticket", following.resumed, True)
        command.run("user", "remove", "bob", "--users", "users.txt")
        refused("V4", lambda: bob(b"the second one", following.ticket))
        # Made anew with the same password, it is another account.
        command.run("user", "add", "bob", "--users", "users.txt", "--password-stdin", stdin=b"the first one\n")
        again = bob(b"the first one", replace(first.ticket, shown=False) if first.ticket else None)
        expect("resumed with a ticket of the account before", again.resumed, False)
        command.run("user", "remove", "bob", "--users", "users.txt")

    def other_name() -> None:
        """The server goes by both names; the client lies about where it has its ticket from."""
        shown = ticket(server_name=NAME)
        comes_back(Client(GOOD, [pin], ticket=replace(shown, server_name="")), False)
        shown = ticket()
        comes_back(Client(GOOD, [pin], ticket=replace(shown, server_name=NAME), server_name=NAME), False)

    def ciphertext(change: Callable[[bytes], bytes], rule: str) -> None:
        """Beside the ticket, changed by somebody who holds its secret."""
        shown = ticket()
        base = altered(Client, "hello", rebound(shown, rsa_ciphertext=change)[CLIENT_HELLO])
        with server.connect() as sock:
            refused(rule, lambda: login(sock, base(NO_CREDENTIAL, (), [spki], ticket=shown, seals=True)))

    def proves_instead() -> None:
        """The ticket is not taken: the ciphertext beside it brings a proof."""
        shown = ticket()
        shown.ticket = flip(20)(shown.ticket)
        comes_back(Client(GOOD, (), [spki], ticket=shown, seals=True), False)

    def wants_proof() -> None:
        shown = ticket()
        shown.ticket = flip(20)(shown.ticket)
        with server.connect() as sock:
            refused("T4", lambda: login(sock, Client(GOOD, (), [spki], ticket=shown)))

    def other_context() -> None:
        with server.connect() as sock:
            refused("C11", lambda: login(sock, Client(GOOD, [pin], ticket=ticket(), prologue=b"x")))

    for suite in FORWARD_SECRET:
        for kind, credential in (("password", GOOD), ("token", Credential(TOKEN, "", token))):
            case(f"in a row, suite {suite:04x}, {kind}", lambda: in_a_row(credential, suite))
            case(f"in a row, with a ciphertext, suite {suite:04x}, {kind}", lambda: in_a_row(
                credential, suite, known_keys=[spki], seals=True))
    case("their size", one_size)
    case("their lifetime", lifetime)
    case("none with a lifetime of 0", none)
    case("K1, of another server", other_server)
    case("K6, the same again", again)
    case("a Confirm and records at once", at_once)
    for about, junk in (("nothing more", lambda confirm: b""),
                        ("F1, a record", lambda confirm: b"\x05\x00\x17" + bytes(23)),
                        ("F1, a Close", lambda confirm: b"\x07\x00\x10" + bytes(16)),
                        ("F1, a longer Confirm", lambda confirm: frame(CONFIRM, confirm[3:] + b"\0")),
                        ("F2, an altered Confirm", flip(-1)), ("F2, a Confirm of zeros", lambda confirm: frame(
                            CONFIRM, bytes(16))), ("half a Confirm", lambda confirm: confirm[:10])):
        case(f"a ClientHello, {about}", lambda: unconfirmed(junk, True))
    case("a replayed ClientHello", lambda: unconfirmed(lambda confirm: confirm, False))
    for at in (0, 20, -1):
        case(f"K1, byte {at} of it altered", lambda: fallback(ticket_of(flip(at))))
    for about, other in (("of 1 byte", b"x"), ("of 500 bytes", bytes(MAX_TICKET))):
        case(f"K1, {about}", lambda: fallback(ticket_of(lambda data: other)))
    case("K1, cut short", lambda: fallback(ticket_of(lambda data: data[:-1])))
    case("K1, too long", lambda: fallback(ticket_of(lambda data: data + b"\0")))
    case("K3, a binder of another secret", lambda: fallback(wrong_secret))
    case("K3, an altered binder", lambda: altered_hello(flip(-1)))
    for about, changes in (("nonce", {"nonce": flip(0)}), ("extension", {"extensions": lambda _: [(9, b"")]})):
        case(f"K3, an altered {about}", lambda: altered_hello(message(ClientHello, **changes)))
    case("K4, its suite is not offered", lambda: fallback(lambda client: None, suites=[0x0202]))
    if command.names():
        case("K8, another name", other_name)
    case("K11, another prologue", other_context)
    case("a proof, where it is not taken", proves_instead)
    case("T4, where it is not taken", wants_proof)
    case("A5, a ciphertext that does not open", lambda: ciphertext(flip(100), "A5"))
    case("A5, a ciphertext of zeros", lambda: ciphertext(lambda was: bytes(len(was)), "A5"))
    case("A5, no ciphertext, where the client sent one", lambda: ciphertext(lambda _: b"", "A5"))
    for about, unusable in UNUSABLE_CLIENTS.items():
        case(f"S9, a joined share: {about}", lambda: unusable_share(unusable))
    for about, unusable in UNUSABLE.items():
        case(f"A4, a joined share: {about}", lambda: other_share("A4", unusable))
    case("A5, another ciphertext", lambda: other_share("A5", flip(0)))
    for rule, about, changes in (("A3", "another suite", {"suite": lambda suite: suite ^ 3}),
                                 ("A5", "another nonce", {"nonce": flip(0)}),
                                 ("A5", "an extension more", {"extensions": lambda had: had + [(9, b"")]}),
                                 ("A5", "another verdict", {"sealed_verdict": flip(-1)})):
        case(f"{rule}, {about} on the way", lambda: heard(rule, **changes))
    case("K7, the account has changed", changed_account)
