"""selftest.py's cases of further factors: L12, N1 to N4, V7, and what a client does not tell a key it hardly trusts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional

import sockets
from countersign import (ACCEPT, BY_KEY, CLIENT_FACTOR, FACTORS, FURTHER, HIDDEN, NOT_NOW, ONE_TIME_CODE, PASSWORD,
                         REJECT, RESERVED, SERVER_VERDICT, SHOWN, TOKEN, ByFirstUse, Client, Factor,
                         FactorRequest, Further, KeyLogin, Server, Verdict, frame, lp, u16, u8)
from meeting import (GOOD, KEY, PERMISSIONS, PIN, PINNED, SPKI, USER, WRONG, Change, Meeting, client, flip, judging,
                     padded, server, ticket_for, verify, with_tickets)
from report import Report, expect
from selftest_keys import ED25519, verify_key
from sockets import Channel

REQUESTS = [FactorRequest(ONE_TIME_CODE, "code"), FactorRequest(SHOWN, "where are you?"),
            FactorRequest(HIDDEN, "p\u00efn"), FactorRequest(ONE_TIME_CODE), FactorRequest(HIDDEN, "x" * 255)]
RIGHT = [b"123456", b"at home", b"\0" * 256, b"1", b"fifth"]


def asking(count: int, check: Any = verify_key, last: Any = Verdict(ACCEPT, USER, PERMISSIONS)) -> Any:
    """Wants so many factors after a credential that is good."""
    def step(number: int) -> Any:
        if number == count:
            return last
        return Further(REQUESTS[number], lambda answer: step(number + 1) if answer == RIGHT[number] else None)

    return lambda credential: step(0) if check(credential) else None


class Answering:
    """Answers, and remembers what it was asked."""

    def __init__(self, answers: Sequence[bytes] = RIGHT):
        self.answers, self.asked = list(answers), list[FactorRequest]()

    def __call__(self, request: FactorRequest) -> bytes:
        self.asked.append(request)
        return self.answers[len(self.asked) - 1]


def wanting(count: int, **options: Any) -> Server:
    return server(check=asking(count), kinds=[PASSWORD, TOKEN, BY_KEY], **options)


class Asks(Server):
    """Goes on asking, whatever a server may."""

    def ask(self, further: Further, kind: int) -> Any:
        self.asked = 0
        return super().ask(further, kind)


def factors(report: Report) -> None:
    def asked(count: int, credential: Any, **known: Any) -> None:
        answers = Answering()
        met = Meeting(client(credential, answers=answers, **known), wanting(count)).came_to("ok", "ok")
        expect("what was asked", answers.asked, REQUESTS[:count])
        expect("the factors' frames", [len(data) for data in met.up if data[:1] == u8(CLIENT_FACTOR)], [531] * count)
        expect("the verdicts", [len(data) for data in met.down if data[:1] == u8(SERVER_VERDICT)], [2067] * (count + 1))

    for about, known in (("with a proof", {}), ("without", PINNED)):
        for what, credential in (("a password", GOOD), ("a key", KeyLogin(USER, ED25519))):
            for count in (0, 1, 2, 3, 4):
                report.case(f"{count} factors after {what}, {about}", lambda: asked(count, credential, **known))

        def fifth() -> None:
            answers = Answering()
            Meeting(client(answers=answers, **known), Asks(KEY, asking(5))).came_to("V7", "ended")
            expect("how many were answered", len(answers.asked), 4)

        report.case(f"V7, a fifth factor, {about}", fifth)
        for count in (1, 2, 4):
            for at in range(count):
                answers = RIGHT[:at] + [b"wrong"]
                report.case(f"N4, factor {at + 1} of {count} is wrong, {about}", lambda: Meeting(
                    client(answers=Answering(answers), **known), wanting(count)).came_to("V4", "N4"))
        report.case(f"L12, the client can't be asked, {about}", lambda: Meeting(
            client(**known), wanting(1)).came_to("V4", "L12"))
        report.case(f"L10, and not L12, if the password is wrong, {about}", lambda: Meeting(
            client(WRONG, **known), wanting(1)).came_to("V4", "L10"))
        report.case(f"no factor where the password is wrong, {about}", lambda: Meeting(
            client(WRONG, answers=Answering([]), **known), wanting(1)).came_to("V4", "L10"))
        report.case(f"offered, and none is wanted, {about}", lambda: Meeting(
            client(answers=Answering([]), **known), server()).came_to("ok", "ok"))
        report.case(f"V6, a not now after a factor, {about}", lambda: Meeting(
            client(answers=Answering(), **known), server(check=asking(1, verify, Verdict(NOT_NOW)))).came_to(
                "V6", "not now"))

    def resumed() -> None:
        """A resumption asks for nothing: what was asked for when its chain began counts."""
        shared = with_tickets(check=asking(2))
        shown = ticket_for(server(**shared), answers=Answering())
        met = Meeting(client(ticket=shown), server(**shared)).came_to("ok", "ok")
        expect("resumed", met.client.session.resumed, True)  # type: ignore[union-attr]

    report.case("a ticket after two factors", resumed)

    def same_answer_twice() -> None:
        met = Meeting(client(answers=Answering()), wanting(1)).came_to("ok", "ok")
        other = met.up[2]
        Meeting(client(answers=Answering()), wanting(1), {CLIENT_FACTOR: lambda _: other}).came_to("V2", "N2")

    report.case("N2, the factor of another connection", same_answer_twice)
    refused_factors(report)
    requests(report)


# ---- What a server refuses ------------------------------------------------------------------------------------------

class Says(Client):
    """Seals these bytes for a factor, or, with `sends`, sends another frame in its place, and knows that it did."""

    sealed: Optional[bytes] = None
    sends: Optional[Change] = None
    heard = True

    def factor(self, answer: bytes) -> bytes:
        before = self.schedule.running.copy()
        plaintext = Factor(answer).encode_padded() if self.sealed is None else self.sealed
        data = frame(CLIENT_FACTOR, self.schedule.seal(b"factor", plaintext))
        data = type(self).sends(data) if type(self).sends else data  # type: ignore[misc]
        self.schedule.running = before
        if self.heard:
            self.schedule.add(data)
        return data


def says(sealed_: Optional[bytes] = None, sends_: Optional[Change] = None, heard_: bool = True) -> type[Says]:
    class Saying(Says):
        sealed, heard = sealed_, heard_
        sends = staticmethod(sends_) if sends_ else None  # type: ignore[assignment]

    return Saying


def refused_factors(report: Report) -> None:
    def case(rule: str, about: str, base: type[Says], ours: str = "V4") -> None:
        for known, pins, keys in (("with a proof", (), [SPKI]), ("without", [PIN], ())):
            report.case(f"{rule}, {about}, {known}", lambda: Meeting(
                base(GOOD, pins, keys, answers=Answering()), wanting(1)).came_to(ours, rule))

    for kind in (0, 1, 3, 4, 5, 7, 10):
        case("N1", f"a frame of type {kind}", says(sends_=lambda data: bytes([kind]), heard_=False))
    for size in (0, 16, 527, 529, 2064):
        case("N1", f"a length of {size}", says(sends_=lambda _: u8(CLIENT_FACTOR) + u16(size), heard_=False))
    right = Factor(RIGHT[0]).encode_padded()
    case("N2", "altered, and the client knows", says(sends_=flip(100)))
    for about, sealed in (("an empty answer", bytes(512)), ("an answer of 257 bytes", lp(b"x" * 257).ljust(512, b"\0")),
                          ("an answer that does not fit", b"\xff" * 512), ("padding", right[:-1] + b"\1"),
                          ("padding right after it", lp(b"123456").ljust(511, b"\0")[:8] + b"\1" + bytes(503))):
        case("N2", about, says(sealed))
    case("N4", "a zero byte more", says(lp(RIGHT[0] + b"\0").ljust(512, b"\0")))
    for about, known in (("with a proof", {}), ("without", PINNED)):
        report.case(f"N2, altered on the way, {about}", lambda: Meeting(
            client(answers=Answering(), **known), wanting(1), {CLIENT_FACTOR: flip(-1)}).came_to("V2", "N2"))
        report.case(f"N3, {about}: nothing is sent", lambda: Meeting(
            client(answers=Answering(), **known), wanting(1), late_at_server=3).came_to("ended", "N3"))
        report.case(f"V5, a late verdict after a factor, {about}", lambda: Meeting(
            client(answers=Answering(), **known), wanting(1), late_at_client=3).came_to("V5", "ok"))

    def in_time() -> None:
        """For a factor there is more time than for the handshake."""
        before = sockets.DEADLINE, sockets.FACTOR_DEADLINE
        expect("seconds", before, (10.0, 60.0))

    report.case("the deadlines", in_time)
    for at in (3, 200, -1):
        report.case(f"V2, the request altered at {at}", lambda: Meeting(
            client(answers=Answering()), wanting(1), down={SERVER_VERDICT: flip(at)}).came_to("V2", "ended"))

    def dropped() -> None:
        """Somebody plays the request a second time, in the place of the verdict."""
        seen: list[bytes] = []

        def twice(data: bytes) -> bytes:
            seen.append(data)
            return seen[0]

        Meeting(client(answers=Answering()), wanting(1), down={SERVER_VERDICT: twice}).came_to("V2", "ok")

    report.case("V2, the request once more", dropped)

    def flipped() -> None:
        """Whichever bit of a factor's frames is another on arrival: no session where it matters."""
        draw = random.Random(11)
        for _ in range(40):
            position, mask, kind = draw.random(), 1 << draw.randrange(8), draw.choice([CLIENT_FACTOR, SERVER_VERDICT])

            def change(data: bytes) -> bytes:
                return flip(3 + int(position * (len(data) - 3)), mask)(data)

            met = Meeting(client(answers=Answering(), suites=[0x0201]), wanting(1, suites=[0x0201]), {kind: change},
                          {kind: change})
            expect("the client has a session", isinstance(met.client, Channel), False)
            expect("the server has a session", isinstance(met.server, Channel), False)
            met.close()

    report.case("a bit of a factor's frames", flipped)


# ---- What a client refuses ------------------------------------------------------------------------------------------

def requests(report: Report) -> None:
    def judged(rule: str, said: bytes, **options: Any) -> None:
        for known in ({}, PINNED):
            met = Meeting(client(**{"answers": Answering(), **known, **options}), judging(said))
            expect("the client's end", getattr(met.client, "rule", "ok"), rule)
            met.close()

    good = REQUESTS[0].verdict()

    def holding(data: bytes) -> bytes:
        return padded(Verdict(FURTHER, extensions=[(FACTORS, data)]).encode())

    report.case("V7, it was not offered", lambda: judged("V7", good.encode_padded(), answers=None))
    for about, said in (
            ("no extension", padded(Verdict(FURTHER).encode())),
            ("another extension", padded(Verdict(FURTHER, extensions=[(RESERVED[0], REQUESTS[0].encode())]).encode())),
            ("nothing", holding(b"")), ("a byte too many", holding(REQUESTS[0].encode() + b"\0")),
            ("a byte too few", holding(REQUESTS[0].encode()[:-1])), ("form 0", holding(b"\0\0\0")),
            ("form 4", holding(b"\4\0\0")), ("a prompt of 256 bytes", holding(b"\1" + lp(b"x" * 256))),
            ("a line feed in the prompt", holding(b"\1" + lp(b"a\nb"))),
            ("an escape in the prompt", holding(b"\1" + lp(b"\x1b[2J"))),
            ("a prompt that is not UTF-8", holding(b"\1" + lp(b"\xff")))):
        report.case(f"V7, {about}", lambda: judged("V7", said))
    for about, changes in (("a principal", {"principal": USER}), ("permissions", {"permissions": ["read"]}),
                           ("a ticket", {"ticket": b"x", "ticket_lifetime": 1}), ("a lifetime", {"ticket_lifetime": 1}),
                           ("the request twice", {"extensions": good.extensions * 2})):
        report.case(f"V3, a request with {about}", lambda: judged("V3", padded(replace(good, **changes).encode())))
    report.case("V4, a reject with a request in it", lambda: judged(
        "V4", padded(replace(good, decision=REJECT).encode())))
    report.case("an accept with a request in it", lambda: judged(
        "ok", padded(replace(good, decision=ACCEPT, principal=USER).encode())))

    def resumption() -> None:
        """Asked for in a resumption."""
        shared = with_tickets()
        shown = ticket_for(server(**shared))
        Meeting(client(ticket=shown, answers=Answering()), judging(good.encode_padded(), **shared)).came_to(
            "A6", "ended")

    report.case("A6, a request in a resumption", resumption)

    def at_first_use(rule: str, **options: Any) -> None:
        """Whoever answers in the server's place at first use takes any signature, and asks for the password then."""
        answers = Answering([b"correct horse battery staple"])
        end = client(KeyLogin(USER, ED25519), **{"pins": (), "known": ()}, trust=[ByFirstUse()], answers=answers,
                     **options)
        Meeting(end, server(check=lambda _: Further(FactorRequest(HIDDEN, "Password:"), lambda _: None),
                            kinds=[BY_KEY])).came_to(rule, "ended" if rule == "V8" else "N4")
        expect("what was told", len(answers.asked), 0 if rule == "V8" else 1)

    report.case("V8, a key of level 1 is not told a factor", lambda: at_first_use("V8"))
    report.case("a key of level 1 is told, if the user says so", lambda: at_first_use(
        "V4", needs={PASSWORD: 1, BY_KEY: 1}))
