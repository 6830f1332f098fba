"""selftest.py's cases of tickets and resumptions, in both roles."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Optional

from countersign import (AEADS, CLIENT_HELLO, CONFIRM, MAX_TICKET, NOT_NOW, PASSWORD, REJECT, RSA_ALONE,
                         RSA_X25519MLKEM768, SERVER_RESUMPTION, SKEW, WEEK, Account, ClientHello, Credential,
                         ServerHello, ServerResumption, Ticket, Tickets, Verdict, context, frame)
from meeting import (GOOD, KEY, OPAQUE, OTHER, OTHER_PIN, OTHER_SPKI, PIN, PINNED, USER, Change, Changes, Meeting,
                     Sealing, bad_verdicts, client, flip, judging, message, outcome, rebound, server, ticket_for,
                     verify, with_tickets)
from report import Report, expect
from sockets import serve


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
        def change(shared: dict[str, Any], _: Ticket) -> None:
            for _time in range(times):
                shared["tickets"].rotate()

        return change

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
        end = client(ticket=shown, suites=[suite], seals=seals)
        Meeting(end, make(**shared), up, down, *late_).came_to(ours, theirs)

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


def kept(report: Report) -> None:
    """When a client shows what it keeps."""
    now = 1_000_000_000
    shown = Ticket(b"x", bytes(32), 0x0301, PIN, "a", (PASSWORD, USER), 3600, now, now)

    def shows(yes: bool, seconds: int = 0, ticket: Ticket = shown, credential: Credential = GOOD,
              **options: Any) -> None:
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
    report.case("a client shows a ticket from a minute in the future", lambda: shows(True, -SKEW))
    report.case("a client drops a ticket from the future", lambda: shows(False, -SKEW - 1))
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
