"""selftest.py's cases of full logins: what either end must refuse, and records."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Optional

import sockets
from countersign import (ACCEPT, BINDER, CLIENT_HELLO, CLIENT_LOGIN, CONFIRM, DATA, KEY_UPDATE, MAX_FRAMES, MAX_TICKET,
                         NOT_NOW, PASSWORD, REJECT, RESERVED, RSA_ALONE, RSA_X25519MLKEM768, SERVER_HELLO,
                         SERVER_RESUMPTION, SERVER_VERDICT, TAG, TOKEN, ClientHello, Credential, ServerHello, Session,
                         Verdict, frame, fresh, lp, permits, u16, u8)
from meeting import (GOOD, KEY, OPAQUE, OTHER_PIN, OTHER_SPKI, PIN, PINNED, SPKI, USER, Careless, Change, Meeting,
                     Sealing, TwoKeys, bad_verdicts, body, client, flip, judging, lying, message, outcome, padded,
                     server,
                     ticket_for, verify, with_tickets)
from report import Report, expect, refused
from sockets import Channel, serve

# ---- What is refused in a full login --------------------------------------------------------------------------------

def hellos(report: Report) -> None:
    def case(rule: str, about: str, change: Change, **options: Any) -> None:
        report.case(f"{rule}, {about}", lambda: Meeting(client(**options), server(), {CLIENT_HELLO: change}).came_to(
            "ended", rule))

    def field(rule: str, about: str, _options: Optional[dict[str, Any]] = None,
              **changes: Callable[[Any], Any]) -> None:
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
    field("T3", "other kinds", credential_kinds=lambda _: [TOKEN, 3, 9])
    report.case("C12, a secret that did not open", lambda: Meeting(client(), Sealing(KEY, verify)).came_to(
        "C12", "ended"))
    report.case("C12, a right proof of another key than the server's", lambda: Meeting(
        client(known=[SPKI, OTHER_SPKI]), TwoKeys(KEY, verify)).came_to("C12", "ended"))
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


def logins(report: Report) -> None:
    def case(rule: str, about: str, change: Callable[[int], Change]) -> None:
        """A client that lies can open the refusal after a proof, and can't without."""
        report.case(f"{rule}, after a proof: {about}", lambda: Meeting(
            lying(change(2), rule != "L1")(GOOD, (), [SPKI]), server()).came_to("V4", rule))
        report.case(f"{rule}, without: {about}", lambda: Meeting(
            lying(change(258), rule != "L1")(GOOD, [PIN]), server()).came_to("V2", rule))

    for kind in (0, 1, 5, 7, 10):
        case("L1", f"a frame of type {kind}", lambda _: lambda data: bytes([kind]))
    case("L1", "a body too short", lambda _: lambda data: b"\3\0\3")
    case("L1", "a body too long", lambda _: lambda data: b"\3\x16\x15")
    case("L2", "a byte too many", lambda size: body(lambda wrapped, sealed: wrapped + sealed + b"\0", size))
    case("L2", "a byte too few", lambda size: body(lambda wrapped, sealed: wrapped + sealed[:-1], size))
    case("L4", "a byte less", lambda size: body(lambda wrapped, sealed: wrapped + b"\x01\x0f" + sealed[2:-1], size))
    case("L4", "nothing", lambda size: body(lambda wrapped, sealed: wrapped + b"\0\0", size))
    case("L4", "a tag alone", lambda size: body(lambda wrapped, sealed: wrapped + lp(bytes(16)), size))
    case("L4", "a block too many", lambda size: body(
        lambda wrapped, sealed: wrapped + lp(bytes(4608 + 256 + 16)), size))
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


# ---- Verdicts -------------------------------------------------------------------------------------------------------

COVERS = [  # what is held, what it covers, what it does not
    (["read"], ["read"], ["Read", "reads", "read:", "read:all", "rea"]),
    (["orders:*"], ["orders:read", "orders:eu:read", "orders::"], ["orders", "orders:", "order:read", "read"]),
    (["orders:eu:*", "reports:x"], ["orders:eu:read", "reports:x"], ["orders:read", "orders:eu", "reports:y"]),
    (["*"], ["read", "a:b:c", ":"], []),
    ([], [], ["read"]),
]


def covered(report: Report) -> None:
    for held, wide, narrow in COVERS:
        for asked in wide:
            report.case(f"{held} covers {asked}", lambda: expect("permitted", permits(held, asked), True))
        for asked in narrow:
            report.case(f"P2, {held} does not cover {asked}", lambda: expect("permitted", permits(held, asked), False))
    for asked in ("*", "orders:*", "*:read", "", "a,b", "a b", "x" * 65):
        report.case(f"P1, {asked[:8]!r}", lambda: refused("P1", lambda: permits(["*", "orders:*"], asked)))


def verdicts(report: Report) -> None:
    covered(report)

    def judged(rule: str, said: bytes) -> None:
        for options in ({}, PINNED):
            met = Meeting(client(**options), judging(said))
            expect("the client's end", outcome(met.client), rule)
            met.close()

    whole = Verdict(ACCEPT, "x" * 255, [f"{n:02}" + "x" * 62 for n in range(11)] + ["y" * 37], b"t" * 500, 2 ** 64 - 1,
                    [(9, bytes(476))])
    report.case("a verdict as long as it may be", lambda: expect(
        "its bytes", len(whole.encode()), 1024 + 502 + 8 + 481))
    report.case("V3: none, as long as it may be", lambda: judged("ok", whole.encode_padded()))
    report.case("V3: none, an unknown extension", lambda: judged("ok", padded(
        replace(Verdict(ACCEPT, USER), extensions=[(RESERVED[3], b"")]).encode())))
    report.case("V4, with an extension", lambda: judged("V4", padded(Verdict(REJECT, extensions=[(9, b"x")]).encode())))
    report.case("V6, with an extension", lambda: judged("V6", padded(
        Verdict(NOT_NOW, extensions=[(9, b"x")]).encode())))

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
