"""Stretched passwords: the peer's two ends, and the command and the peer, both ways round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Optional

from cryptography.hazmat.primitives.asymmetric import rsa

from command import GOOD, PERMISSIONS, SECRET, USER, Command, PeerServer, RustServer
from countersign import (ACCEPT, PASSWORD, SERVER_HELLO, STRETCHED, STRETCHING, TOKEN, ByFirstUse, Credential, Server,
                         ServerHello, StretchedPassword, StretchParameters, Stretching, Verdict, frame, key_id, spki_of)
from meeting import PINNED, WRONG, Meeting, client, server
from report import Report, expect
from serve_cases import rejected, session

REALM, CHEAP, OTHER = "db.example", StretchParameters(7, 5, 1), StretchParameters(12, 3, 4)
ONE, BOTH = Stretching(REALM, (CHEAP,)), Stretching(REALM, (OTHER, CHEAP), moving=True)


def judge(of: Stretching, seen: Optional[list[StretchedPassword]] = None) -> Callable[[Credential], Optional[Verdict]]:
    """Knows USER's password by what it is stretched to."""
    stored = of.stored(USER, SECRET)

    def verify(credential: Credential) -> Optional[Verdict]:
        if credential.kind != STRETCHED:
            return None
        shown = StretchedPassword.decode(credential.secret, of)
        if seen is not None:
            seen.append(shown)
        good = shown.is_good(stored if credential.user == USER else [])
        return Verdict(ACCEPT, USER, PERMISSIONS) if good else None

    return verify


def stretching(of: Stretching, kinds: tuple[int, ...] = (STRETCHED, TOKEN), **options: Any) -> Server:
    return server(check=judge(of, options.pop("seen", None)), kinds=kinds, stretching=of, **options)


def saying(data: Optional[bytes]) -> Callable[[bytes], bytes]:
    """A ServerHello with this in the place of what it says of stretching."""
    def change(received: bytes) -> bytes:
        hello = ServerHello.decode(received[3:])
        rest = [one for one in hello.extensions if one[0] != STRETCHING]
        said = [] if data is None else [(STRETCHING, data)]
        return frame(SERVER_HELLO, replace(hello, extensions=rest + said).encode())

    return change


def selftest(report: Report) -> None:
    for about, of in (("one set", ONE), ("two, moving", BOTH)):
        report.case(f"stretched, {about}", lambda: Meeting(client(GOOD), stretching(of)).came_to("ok", "ok"))
        report.case(f"stretched, {about}, another password", lambda: Meeting(
            client(WRONG), stretching(of)).came_to("V4", "L10"))

    def moving(wanted: bytes, **options: Any) -> None:
        seen: list[StretchedPassword] = []
        Meeting(client(GOOD, **options), stretching(BOTH, seen=seen)).came_to("ok", "ok")
        expect("the password beside it", [shown.password for shown in seen], [wanted])

    report.case("moving: the password goes with it", lambda: moving(SECRET))
    report.case("T7, moving: and not where it is not to", lambda: moving(b"", stretched_only=True))
    report.case("T7, a server that takes passwords", lambda: Meeting(
        client(GOOD, stretched_only=True), server()).came_to("T7", "ended"))
    report.case("T6, another realm", lambda: Meeting(
        client(GOOD, realm="bank.example"), stretching(ONE)).came_to("T6", "ended"))
    report.case("T5, at first use", lambda: Meeting(
        client(GOOD, pins=[], known=[], trust=[ByFirstUse()]), stretching(ONE)).came_to("T5", "ended"))
    good = ONE.encode()
    for about, data in (("none", None), ("empty", b""), ("a byte more", good + b"\0"), ("cut", good[:-1]),
                        ("another moving", good[:-1] + b"\2"), ("no realm", Stretching("", (CHEAP,)).encode()),
                        ("twice", Stretching(REALM, (CHEAP, CHEAP)).encode()),
                        ("no parameters", Stretching(REALM, ()).encode()),
                        ("no lanes", Stretching(REALM, (StretchParameters(35, 1, 0),)).encode())):
        report.case(f"C15, {about}", lambda: Meeting(
            client(GOOD, **PINNED), stretching(ONE), down={SERVER_HELLO: saying(data)}).came_to("C15", "ended"))
    for one in ((6, 255, 1), (7, 4, 1), (257, 1, 1), (256, 5, 1), (35, 1, 17)):
        of = Stretching(REALM, (StretchParameters(*one),))
        report.case(f"T6, {one}", lambda: Meeting(
            client(GOOD), server(check=lambda credential: None, kinds=(STRETCHED,), stretching=of)).came_to(
                "T6", "ended"))


def stretch_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    if not command.has("serve", "--stretch"):
        report.left_out("stretched passwords")
        return
    serve_cases(report, command, name, key)
    login_cases(report, command, name, key)


def serve_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    spki = spki_of(key.public_key())
    users, own = "stretched.txt", ("--stretch-realm", REALM, "--stretch-parameters", "m=7168,t=5,p=1")
    command.run("user", "add", USER, "--users", users, *own, "--password-stdin", stdin=SECRET + b"\n")
    command.run("user", "add", "carol", "--users", users, "--password-stdin", stdin=SECRET + b"\n")
    options = ("--stretch", *own)
    with RustServer(command, f"{name}.pem", "60s", *options, users=users) as peer:
        for about, pins, known in (("with a proof", [], [spki]), ("without", [key_id(spki)], [])):
            report.case(f"serve, stretched, {about}", lambda: session(
                peer, peer.client(GOOD, pins, known, realm=REALM, stretched_only=True), permissions=[]))
        for about, credential in (("another password", WRONG), ("nobody", Credential(PASSWORD, "mallory", SECRET)),
                                  ("who has not moved", Credential(PASSWORD, "carol", SECRET))):
            report.case(f"serve, stretched: {about}, V4", lambda: rejected(
                peer, peer.client(credential, (), [spki]), "V4"))
    raised = ("--stretch", "--stretch-moving", "--stretch-realm", REALM, "--stretch-parameters", "m=12288,t=3,p=4",
              "--stretch-parameters", "m=7168,t=5,p=1")
    with RustServer(command, f"{name}.pem", "60s", *raised, users=users) as peer:
        report.case("serve, stretched, at the old parameters of two", lambda: session(
            peer, peer.client(GOOD, (), [spki]), permissions=[]))
        report.case("serve, moving: who sends no password is not let in by it, V4", lambda: rejected(
            peer, peer.client(Credential(PASSWORD, "carol", SECRET), (), [spki], stretched_only=True), "V4"))

        def carol() -> None:
            with peer.login(peer.client(Credential(PASSWORD, "carol", SECRET), (), [spki])) as channel:
                expect("who it is", channel.session.verdict.principal, "carol")

        report.case("serve, moving: a password that was never stretched", carol)


def login_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    trust = ("--server-key", f"{name}.pub.pem")

    def case(about: str, status: int, outcome: str, of: Stretching, *words: str, secret: bytes = SECRET,
             kinds: tuple[int, ...] = (STRETCHED,), sends: Optional[bytes] = None) -> None:
        def step() -> None:
            seen: list[StretchedPassword] = []
            with PeerServer(lambda: Server(key, judge(of, seen), kinds=kinds, names=None, stretching=of)) as peer:
                command.run("login", "--server", peer.address, "--user", USER, "--password-stdin", *trust, *words,
                            "--send", "quit", stdin=secret + b"\n", status=status)
            expect("the server's end", peer.outcome, outcome)
            if sends is not None:
                expect("the password beside it", [shown.password for shown in seen], [sends])

        report.case(f"login, stretched, {about}", step)

    case("one set", 0, "accepted", ONE, "--realm", REALM, sends=b"")
    case("two sets, moving", 0, "accepted", BOTH, sends=SECRET)
    case("two sets, moving, never as it is", 0, "accepted", BOTH, "--stretched-only", sends=b"")
    case("beside passwords", 0, "accepted", ONE, kinds=(PASSWORD, STRETCHED), sends=b"")
    case("another password", 1, "L10", ONE, secret=b"wrong horse")
    case("T6, another realm", 3, "ended", ONE, "--realm", "bank.example")
    for one in ((6, 255, 1), (7, 4, 1), (257, 1, 1), (35, 1, 17)):
        weak(report, command, key, trust, StretchParameters(*one))


def weak(report: Report, command: Command, key: rsa.RSAPrivateKey, trust: tuple[str, ...],
         one: StretchParameters) -> None:
    """Parameters that the command does not compute."""
    def step() -> None:
        of = Stretching(REALM, (one,))
        with PeerServer(lambda: Server(key, lambda credential: None, kinds=(STRETCHED,), names=None,
                                       stretching=of)) as peer:
            command.run("login", "--server", peer.address, "--user", USER, "--password-stdin", *trust,
                        stdin=SECRET + b"\n", status=3)
        expect("the server's end", peer.outcome, "ended")

    report.case(f"login, T6, {one.memory} MiB, {one.passes} passes, {one.lanes} lanes", step)
