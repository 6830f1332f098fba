"""selftest.py's cases of clients with keys: KeyProof, L8 to L11, and signatures that somebody passes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign import (ACCEPT, AEADS, BY_KEY, PASSWORD, SERVER_HELLO, TOKEN, ByFirstUse, Client, Credential, KeyLogin,
                         KeyProof, PrivateKey, ServerHello, Verdict, client_spki, lp, sign, signed, spki_of)
from meeting import (GOOD, KEY, OTHER, OTHER_PIN, OTHER_SPKI, PERMISSIONS, PINNED, SPKI, USER, Meeting, client, flip,
                     message, not_now, server, ticket_for, verify, with_tickets)
from report import Report, expect

ED25519 = Ed25519PrivateKey.from_private_bytes(b"client's key for the self-test. ")
P256 = ec.derive_private_key(0x9123456789abcdef ** 4, ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
CLIENT_KEYS: dict[str, PrivateKey] = {"Ed25519": ED25519, "ECDSA P-256": P256, "RSA-PSS 2048": RSA}
ON_FILE = {(USER, client_spki(key)) for key in CLIENT_KEYS.values()}
ALL_KINDS = [PASSWORD, TOKEN, BY_KEY]
GROUP = 2 ** 252 + 27742317777372353535851937790883648493  # the order of Ed25519's
P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551


def verify_key(credential: Credential) -> Optional[Verdict]:
    """An account with keys, and with the password of meeting.py."""
    if credential.kind != BY_KEY:
        return verify(credential)
    on_file = (credential.user, KeyProof.decode(credential.secret).key) in ON_FILE
    return Verdict(ACCEPT, USER, PERMISSIONS) if on_file else None


def taking(check: Any = verify_key, **options: Any) -> Any:
    return server(check=check, **{"kinds": ALL_KINDS, **options})


@dataclass
class Shows(KeyLogin):
    """Shows what `make` gives for transcript_r, whatever a key would sign."""

    make: Callable[[bytes], Credential]

    def encode_padded(self) -> bytes:
        return self.make(bytes(32)).encode_padded()

    def proven(self, transcript_r: bytes) -> bytes:
        return self.make(transcript_r).encode_padded()


class Unchecked(Client):
    """A client that does not mind what it shows."""

    def __init__(self, credential: Any, *args: Any, **options: Any):
        super().__init__(GOOD, *args, **options)
        self.credential, self.plaintext, self.kind = credential, credential.encode_padded(), BY_KEY


def proof(key: bytes, signature: bytes, user: str = USER) -> Credential:
    return Credential(BY_KEY, user, KeyProof(key, signature).encode())


def by_key(report: Report) -> None:
    def login(suite: int, key: PrivateKey, known: dict[str, Any]) -> None:
        met = Meeting(client(KeyLogin(USER, key), suites=[suite], weakest_exchange=suite >> 8, **known),
                      taking(suites=[suite])).came_to("ok", "ok")
        expect("a proof", bool(ServerHello.decode(met.down[0][3:]).proof), not known)

    for name, key in CLIENT_KEYS.items():
        for suite in AEADS:
            for about, known in (("with a proof", {}), ("without", PINNED)):
                report.case(f"a key: {name}, {suite:04x}, {about}", lambda: login(suite, key, known))
    for size in (2048, 3072, 8192):
        report.case(f"a credential by an RSA key of {size} bits fits", lambda: expect("it does", len(Shows(
            USER, RSA, lambda _: proof(bytes(1088), bytes(size // 8), "x" * 255)).encode_padded()) <= 4608, True))

    def resumed(key: PrivateKey) -> None:
        shared = with_tickets(check=verify_key)
        mine = KeyLogin(USER, key)
        shown = ticket_for(taking(**shared), mine)
        expect("shown for a password", client(ticket=shown).ticket, None)
        met = Meeting(client(mine, ticket=shown), taking(**shared)).came_to("ok", "ok")
        expect("two frames", len([data for data in met.up if data[0] in (1, 3)]), 1)
        other = taking(**{**shared, "kinds": [PASSWORD]})
        Meeting(client(mine, ticket=met.ticket(), without_proof=True), other).came_to("T3", "ended")
        expect("why", other.not_taken and other.not_taken.rule, "K9")

    report.case("a key's ticket, and K9", lambda: resumed(ED25519))
    report.case("T3, no keys are taken", lambda: Meeting(client(KeyLogin(USER, ED25519)), server()).came_to(
        "T3", "ended"))
    report.case("V6, a not now to a key", lambda: Meeting(client(KeyLogin(USER, ED25519)), taking(not_now)).came_to(
        "V6", "not now"))

    def untaken() -> None:
        end = client(KeyLogin(USER, ED25519))
        end.kind = PASSWORD  # so that T3 does not hold it back
        Meeting(end, server()).came_to("V4", "L9")

    report.case("L9, a key where none is taken", untaken)
    stranger = Ed25519PrivateKey.generate()
    for about, login_ in (("a key of nobody's", KeyLogin(USER, stranger)),
                          ("an unknown user", KeyLogin("bob", ED25519))):
        for known in ({}, PINNED):
            report.case(f"L10, {about}", lambda: Meeting(client(login_, **known), taking()).came_to("V4", "L10"))

    def shows(rule: str, make: Callable[[bytes], Credential], client_end: str = "") -> None:
        for options in ({}, PINNED):
            Meeting(unchecked(Shows(USER, ED25519, make), **options), taking()).came_to(client_end or "V4", rule)

    for about, make in bad_proofs().items():
        report.case(f"L11, {about}", lambda: shows("L11", make))
    for about, make in bad_shapes().items():
        report.case(f"L8, {about}", lambda: shows("L8", make))
    for about, make in odd_proofs().items():
        report.case(f"taken: {about}", lambda: shows("ok", make, "ok"))

    def stands_in(kinds: list[int], make: Callable[[bytes], Credential]) -> None:
        seen: list[Credential] = []

        def look(credential: Credential) -> Optional[Verdict]:
            seen.append(credential)
            return verify_key(credential)

        Meeting(unchecked(Shows(USER, ED25519, make)), taking(look, kinds=kinds)).came_to("V4", "L11")
        expect("what is verified", [(seen_.kind, seen_.user) for seen_ in seen],
               [(kinds[0], "" if kinds[0] == TOKEN else "\0")])

    for kinds in ([PASSWORD, BY_KEY], [TOKEN, BY_KEY], [BY_KEY]):
        report.case(f"L11, verified in its place is {kinds[0]}", lambda: stands_in(
            kinds, bad_proofs()["zeros for a signature"]))


def unchecked(shows: Shows, pins: Any = (), known: Any = (SPKI,)) -> Unchecked:
    return Unchecked(shows, pins, known)


def signs(key: PrivateKey, change: Callable[[bytes], bytes] = lambda signature: signature,
          spki: Optional[bytes] = None, over: Callable[[bytes], bytes] = lambda message: message) -> Callable[
              [bytes], Credential]:
    spki_ = client_spki(key) if spki is None else spki
    return lambda transcript_r: proof(spki_, change(sign(key, over(signed(transcript_r, USER)))))


def p256_point(form: PublicFormat) -> bytes:
    """A SubjectPublicKeyInfo with another form of the point."""
    point = P256.public_key().public_bytes(Encoding.X962, form)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    bits = b"\x03" + bytes([len(point) + 1]) + b"\0" + point
    return b"\x30" + bytes([len(algorithm) + len(bits)]) + algorithm + bits


def bad_proofs() -> dict[str, Callable[[bytes], Credential]]:
    ed, rsa_, p256 = (client_spki(key) for key in (ED25519, RSA, P256))
    p384, small = ec.generate_private_key(ec.SECP384R1()), Ed25519PrivateKey.generate()
    pss_algorithm = rsa_.replace(bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01010a"))
    neutral = b"\1" + bytes(31)
    found: dict[str, Callable[[bytes], Credential]] = {"zeros for a signature": lambda _: proof(ed, bytes(64))}
    for name, key in CLIENT_KEYS.items():
        found |= {
            f"{name}: a bit flipped at the start": signs(key, flip(0)),
            f"{name}: a bit flipped at the end": signs(key, flip(-1)),
            f"{name}: a byte more": signs(key, lambda signature: signature + b"\0"),
            f"{name}: a byte less": signs(key, lambda signature: signature[:-1]),
            f"{name}: none": signs(key, lambda _: b""),
            f"{name}: no blanks": signs(key, over=lambda data: data[64:]),
            f"{name}: another user": signs(key, over=lambda data: data[:-len(lp(USER.encode()))] + lp(b"bob")),
            f"{name}: another transcript": signs(key, over=lambda data: data[:97] + bytes(32) + data[129:]),
            f"{name}: a byte more in the DER": signs(key, spki=client_spki(key) + b"\0"),
            f"{name}: a byte less in the DER": signs(key, spki=client_spki(key)[:-1]),
        }
    order = GROUP
    return found | {
        "an RSA key with Ed25519's signature": signs(ED25519, spki=rsa_),
        "a P-256 key with Ed25519's signature": signs(ED25519, spki=p256),
        "another's key": signs(ED25519, spki=client_spki(small)),
        "no key": lambda _: proof(b"", bytes(64)),
        "Ed25519: S not below the order": signs(ED25519, lambda signature: signature[:32] + (
            int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")),
        "Ed25519: the neutral point for key and R": lambda _: proof(
            ed[:-32] + neutral, neutral + bytes(32)),
        "Ed25519: a key that is not canonical": lambda _: proof(
            ed[:-32] + (2 ** 255 - 18).to_bytes(32, "little"), neutral + bytes(32)),
        "Ed25519: raw bytes for a key": signs(ED25519, spki=ed[-32:]),
        "Ed448": lambda _: proof(Ed448PrivateKey.generate().public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo), bytes(114)),
        "P-384": lambda t: proof(client_spki(p384), p384.sign(signed(t, USER), ec.ECDSA(hashes.SHA384()))),
        "P-256: a compressed point": signs(P256, spki=p256_point(PublicFormat.CompressedPoint)),
        "P-256: a signature in DER": lambda t: proof(p256, P256.sign(signed(t, USER), ec.ECDSA(hashes.SHA256()))),
        "P-256: SHA-384": lambda t: proof(p256, b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(
            P256.sign(signed(t, USER), ec.ECDSA(hashes.SHA384()))))),
        "P-256: r is zero": signs(P256, lambda signature: bytes(32) + signature[32:]),
        "P-256: s is zero": signs(P256, lambda signature: signature[:32] + bytes(32)),
        "P-256: r and s change places": signs(P256, lambda signature: signature[32:] + signature[:32]),
        "P-256: s not below the order": signs(P256, lambda signature: signature[:32] + b"\xff" * 32),
        "RSA: 1024 bits": signs(rsa.generate_private_key(65537, 1024)),
        "RSA: exponent 3": signs(rsa.generate_private_key(3, 2048)),
        "RSA: the algorithm id-RSASSA-PSS": signs(RSA, spki=pss_algorithm),
        "RSA: PKCS#1 v1.5": lambda t: proof(rsa_, RSA.sign(signed(t, USER), padding.PKCS1v15(), hashes.SHA256())),
        "RSA: a salt of 20 bytes": lambda t: proof(rsa_, RSA.sign(
            signed(t, USER), padding.PSS(padding.MGF1(hashes.SHA256()), 20), hashes.SHA256())),
        "RSA: no salt": lambda t: proof(rsa_, RSA.sign(
            signed(t, USER), padding.PSS(padding.MGF1(hashes.SHA256()), 0), hashes.SHA256())),
        "RSA: SHA-384": lambda t: proof(rsa_, RSA.sign(
            signed(t, USER), padding.PSS(padding.MGF1(hashes.SHA384()), 32), hashes.SHA384())),
        "RSA: MGF1 with SHA-1": lambda t: proof(rsa_, RSA.sign(
            signed(t, USER), padding.PSS(padding.MGF1(hashes.SHA1()), 32), hashes.SHA256())),
        "RSA: above the modulus": lambda _: proof(rsa_, b"\xff" * 256),
    }


def odd_proofs() -> dict[str, Callable[[bytes], Credential]]:
    def other_s(signature: bytes) -> bytes:
        return signature[:32] + (P256_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")

    return {"P-256: s, or the order less s": signs(P256, other_s), "P-256: uncompressed": signs(
        P256, spki=p256_point(PublicFormat.UncompressedPoint))}


def bad_shapes() -> dict[str, Callable[[bytes], Credential]]:
    ed = client_spki(ED25519)
    whole = KeyProof(ed, bytes(64)).encode()
    return {
        "a KeyProof that ends early": lambda _: Credential(BY_KEY, USER, whole[:-1]),
        "a KeyProof and a byte": lambda _: Credential(BY_KEY, USER, whole + b"\0"),
        "half a KeyProof": lambda _: Credential(BY_KEY, USER, lp(ed)),
        "a key of 1089 bytes": lambda _: proof(bytes(1089), bytes(64)),
        "no user": lambda t: proof(ed, sign(ED25519, signed(t, "")), ""),
        "a user with a control character": lambda t: proof(ed, sign(ED25519, signed(t, "a\n")), "a\n"),
        "kind 9": lambda _: Credential(9, USER, whole),
    }


# ---- Signatures that somebody passes on -----------------------------------------------------------------------------

def relays(report: Report) -> None:
    """The victim's signature, shown to an attacker's server, or read by an honest one, is of use nowhere else."""

    def caught(key: PrivateKey, end: Any, **options: Any) -> Credential:
        """What the victim showed at this server."""
        shown: list[Credential] = []

        def look(credential: Credential) -> Optional[Verdict]:
            shown.append(credential)
            return None

        Meeting(client(KeyLogin(USER, key), **options), taking(look, key=end)).came_to("V4", "L10")
        return shown[0]

    def passed_on(key: PrivateKey, end: Any, known: dict[str, Any]) -> None:
        taken = caught(key, end, known=[spki_of(end.public_key())])
        Meeting(client(KeyLogin(USER, key), **known), taking()).came_to("ok", "ok")
        Meeting(unchecked(Shows(USER, key, lambda _: taken), **known), taking()).came_to("V4", "L11")

    for name, key in CLIENT_KEYS.items():
        for about, known in (("with a proof", {}), ("without", PINNED)):
            report.case(f"L11, {name}, passed on from another server, {about}", lambda: passed_on(key, OTHER, known))
            report.case(f"L11, {name}, passed on from another connection, {about}", lambda: passed_on(key, KEY, known))

    def in_the_middle(key: PrivateKey) -> None:
        """The attacker's server tells the victim what the real one says, nonce and all, but for the key, and the real
        one what the victim says, the nonce of the hello included: all but what it can't."""
        real = taking()
        shown: list[Credential] = []
        middle = taking(lambda credential: shown.append(credential), key=OTHER)
        victim = client(KeyLogin(USER, key), **{"pins": (), "known": ()}, trust=[ByFirstUse()])
        hello = victim.hello()
        said = ServerHello.decode(real.on_client_hello(hello)[3:])
        middle.draws.nonce = said.nonce
        middle.on_client_login(victim.on_server_hello(middle.on_client_hello(hello)))
        mallory = unchecked(Shows(USER, key, lambda _: shown[0]), **PINNED)
        mallory.draws.nonce = victim.draws.nonce
        mallory.draws.exchanges, mallory.draws.extensions = victim.draws.exchanges, victim.draws.extensions
        mallory.sent = hello
        again = taking()
        again.draws = real.draws
        login = mallory.on_server_hello(again.on_client_hello(hello))
        _, outcome = again.on_client_login(login)
        expect("the real server", outcome.rule, "L11")  # type: ignore[union-attr]

    for name, key in CLIENT_KEYS.items():
        report.case(f"L11, {name}, passed on at once, with the nonces of both", lambda: in_the_middle(key))
    # The modulus of OTHER is the smaller one, so this is never L3.
    report.case("the frames of the victim, passed on to another server", lambda: Meeting(
        client(KeyLogin(USER, ED25519), pins=[OTHER_PIN], known=()), taking(), down={SERVER_HELLO: message(
            ServerHello, key_id=lambda _: OTHER_PIN, spki=lambda _: OTHER_SPKI)}).came_to("V2", "L6"))
