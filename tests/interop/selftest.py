#!/usr/bin/env python3
"""The peer's two ends against each other: every mode, and every rule that countersign.py knows, in both roles.

    venv/bin/python tests/interop/selftest.py

run.py runs these cases, too. Where one end must break a rule, a frame is changed between the two, or the end is one
that lies.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # no __pycache__ among the tests

from collections.abc import Callable
from typing import Any

import sockets
from countersign import (AEADS, BODY, BUSY, CLIENT_HELLO, PASSWORD, RESERVED, SERVER_HELLO, SERVER_RESUMPTION, TOKEN,
                         PUZZLE, SOLUTION, Busy, Client, ClientHello, Credential, Draws, Refused, Server, ServerHello,
                         ServerResumption, context, counters_of, extended, frame, solution, spki_of, u16)
from meeting import (GOOD, KEY, OPAQUE, OTHER_SPKI, PIN, PINNED, SECRET, SPKI, USER, WRONG, Meeting, altered, client, flip,
                     key_file, message, not_now, server, ticket_for, verify, with_tickets)
from report import Report, expect
from selftest_factors import factors
from selftest_keys import by_key, relays
from selftest_logins import challenges, flips, hellos, logins, records, verdicts
from selftest_tickets import kept, resumptions
from selftest_trust import certificates, levels, manifests

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
            ("the shortest ClientHello", smallest.encode(), BODY[CLIENT_HELLO][0]),
            ("the longest ClientHello", largest.encode(), BODY[CLIENT_HELLO][1]),
            ("the default ClientHello", default.hello()[3:], 1317),
            ("the shortest ServerHello", ServerHello(1, 1, bytes(32), bytes(32), b"", b"", [], bytes(8)).encode(),
             BODY[SERVER_HELLO][0]),
            ("the longest ServerHello", hello.encode(), BODY[SERVER_HELLO][1]),
            ("the shortest ServerResumption", ServerResumption(1, 1, bytes(32), b"", bytes(2064)).encode(),
             BODY[SERVER_RESUMPTION][0]),
            ("the longest ServerResumption", ServerResumption(1, 1, bytes(32), bytes(1536), bytes(2064),
                                                              extensions).encode(),
             BODY[SERVER_RESUMPTION][1]),
            ("the shortest Busy", Busy(1).encode(), BODY[BUSY][0]),
            ("the longest Busy", Busy(1, [(0, bytes(1024 - 64))] + [(0, b"")] * 15).encode(),
             BODY[BUSY][1])):
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
        report.case(f"C11, a binding and none, {about}", lambda: differs(
            "channel binding", known, {"binding": one}, {}))
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
    for about, body in (("a byte too many", b"\0\1\0\0"),
                        ("an extension twice", u16(1) + extended([(9, b""), (9, b"")])),
                        ("ends early", u16(1) + b"\1")):
        report.case(f"C14, a Busy that is none: {about}", lambda: Meeting(
            client(), server(busy=1), down={BUSY: lambda _: frame(BUSY, body)}).came_to("C14", "busy"))
    report.case("a Busy with an extension", lambda: Meeting(
        client(), server(busy=1), down={BUSY: lambda _: frame(BUSY, Busy(9, [(9, b"unknown")]).encode())}).came_to(
            "C14", "busy"))


def puzzles(report: Report) -> None:
    def wrong(change: Callable[[list[int]], list[int]]) -> None:
        Meeting(client(), server(puzzle=4), {SOLUTION: lambda data: solution(change(counters_of(data)))}).came_to(
            "ended", "B3")

    for about, known in (("with a proof", {}), ("without", PINNED)):
        report.case(f"a puzzle, {about}", lambda: Meeting(client(**known), server(puzzle=4)).came_to(
            "ok", "ok"))
        report.case(f"B1, too hard a puzzle, {about}", lambda: Meeting(
            client(puzzles=3, **known), server(puzzle=4)).came_to("C14", "ended"))
        report.case(f"B1, a second puzzle, {about}", lambda: Meeting(
            client(**known), altered(Server, "on_solution", lambda _: frame(BUSY, Busy(
                9, [(PUZZLE, b"\4" + bytes(32))]).encode()))(KEY, verify, puzzle=4)).came_to("C14", "ended"))
    report.case("B2, a frame of another type", lambda: Meeting(
        client(), server(puzzle=4), {SOLUTION: lambda data: b"\3" + data[1:]}).came_to("ended", "B2"))
    report.case("B2, a byte less", lambda: Meeting(
        client(), server(puzzle=4), {SOLUTION: lambda data: b"\14\0\x7f" + data[4:]}).came_to("ended", "B2"))
    report.case("B3, a counter twice", lambda: wrong(lambda counters: counters[:1] + counters[:-1]))
    report.case("B3, two counters swapped", lambda: wrong(lambda counters: counters[1::-1] + counters[2:]))
    report.case("B3, another counter", lambda: wrong(lambda counters: counters[:-1] + [2 ** 64 - 1]))
    report.case("B3, another hello", lambda: Meeting(
        client(), server(puzzle=4), {CLIENT_HELLO: message(ClientHello, nonce=flip(0))}).came_to("ended", "B3"))


def cases(report: Report) -> None:
    for part in (modes, before_the_credential, puzzles, hellos, challenges, logins, verdicts, resumptions, kept, flips, records):
        part(report)
    before, sockets.REFUSAL_DELAY = sockets.REFUSAL_DELAY, 0.0  # it was waited for often enough
    for part in (by_key, relays, factors, levels, certificates, manifests):
        part(report)
    sockets.REFUSAL_DELAY = before


def main() -> int:
    report = Report()
    cases(report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
