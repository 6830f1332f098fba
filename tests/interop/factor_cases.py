"""The command and further factors: `countersign serve` with an account that has one-time codes, and `countersign login`
that is asked."""

from __future__ import annotations

import base64
import hmac
import re
import time
from urllib.parse import parse_qs, urlparse

from cryptography.hazmat.primitives.asymmetric import rsa

from command import GOOD, SECRET, USER, Command, PeerServer, RustServer
from countersign import Server, fingerprint, key_id, spki_of
from meeting import WRONG
from report import Report, expect
from selftest_factors import RIGHT, Answering, asking, says
from serve_cases import rejected, session


def factor_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    if not command.can("user", "totp"):
        report.left_out("further factors")
        return
    serve_cases(report, command, name, key)
    login_cases(report, command, key)


def code(secret: bytes, step: int, digits: int = 6) -> bytes:
    """RFC 6238, of the time step that is so many from now."""
    counter = (int(time.time()) // 30 + step).to_bytes(8, "big")
    mac = hmac.digest(secret, counter, "sha1")
    at = mac[-1] & 15
    number = (int.from_bytes(mac[at:at + 4], "big") & 0x7fffffff) % 10 ** digits
    return b"%0*d" % (digits, number)


def enrolled(command: Command, user: str) -> bytes:
    """An account with one-time codes: their secret."""
    command.run("user", "add", user, "--users", "totp.txt", "--password-stdin", stdin=SECRET + b"\n")
    done = command.run("user", "totp", user, "--users", "totp.txt", "--no-confirm")
    found = re.search(r"otpauth://\S+", done.stdout.decode() + done.stderr.decode())
    assert found, "no otpauth URL"
    secret = parse_qs(urlparse(found.group()).query)["secret"][0]
    return base64.b32decode(secret + "=" * (-len(secret) % 8))


def serve_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    spki, secret = spki_of(key.public_key()), enrolled(command, USER)
    other = enrolled(command, "bob")
    with RustServer(command, f"{name}.pem", "60s", users="totp.txt") as server:
        def right() -> None:
            """A code that is right, and not the second time."""
            # The codes of the half minute in which the server started count as used.
            answers = [code(secret, 1)]
            asked = Answering(answers)
            client = server.client(GOOD, (), [spki], answers=asked)
            first = session(server, client, permissions=[])
            expect("the form", [request.form for request in asked.asked], [1])
            rejected(server, server.client(GOOD, (), [spki], answers=Answering(answers)), "V4")
            again = session(server, server.client(GOOD, (), [spki], ticket=first.ticket), permissions=[])
            expect("resumed without a factor", again.resumed, True)

        report.case("serve, a factor: the right code, once, and a resumption", right)  # first: wrong ones are counted
        for about, pins, known in (("with a proof", (), [spki]), ("without", [key_id(spki)], ())):
            def refuses(rule: str, answers: list[bytes], credential: object = GOOD, **options: object) -> None:
                rejected(server, server.client(credential, pins, known, answers=Answering(answers), **options), rule)

            report.case(f"serve, a factor: N4, a wrong code, {about}", lambda: refuses("V4", [b"000000x"]))
            report.case(f"serve, a factor: N4, another's code, {about}", lambda: refuses("V4", [code(other, 0)]))
            report.case(f"serve, a factor: L10, a wrong password, {about}", lambda: refuses("V4", [], WRONG))
            report.case(f"serve, a factor: L12, the client can't be asked, {about}", lambda: rejected(
                server, server.client(GOOD, pins, known), "V4"))
            for what, base, rule in (("N1, another length", says(sends_=lambda data: data[:2] + b"\x11" + data[3:],
                                                                 heard_=False), "V4"),
                                     ("N1, a login once more", says(sends_=lambda _: b"\3", heard_=False), "V4"),
                                     ("N2, an empty answer", says(bytes(512)), "V4"),
                                     ("N2, padding", says(b"\0\1x" + b"\1" * 509), "V4")):
                report.case(f"serve, a factor: {what}, {about}", lambda: rejected(server, server.client(
                    GOOD, pins, known, base=base, answers=Answering()), rule))


def login_cases(report: Report, command: Command, key: rsa.RSAPrivateKey) -> None:
    pin = fingerprint(key_id(spki_of(key.public_key())))

    def case(about: str, status: int, outcome: str, count: int, typed: list[bytes], secret: bytes = SECRET) -> None:
        def step() -> None:
            with PeerServer(lambda: Server(key, asking(count), names=None)) as peer:
                command.run("login", "--server", peer.address, "--user", USER, "--password-stdin", "--factor-stdin",
                            "--pin", pin, "--send", "whoami", "--send", "quit",
                            stdin=b"\n".join([secret, *typed]) + b"\n", status=status)
            expect("the server's end", peer.outcome, outcome)

        report.case(f"login, a factor: {about}", step)

    case("asked for", 0, "accepted", 1, RIGHT[:1])
    case("given, and not asked for", 0, "accepted", 0, RIGHT[:1])
    case("N4, a wrong answer", 1, "N4", 1, [b"wrong"])
    case("L10, a wrong password", 1, "L10", 1, RIGHT[:1], b"wrong")
