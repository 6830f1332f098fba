"""selftest.py's cases of trust in server keys: levels and T5, certificates (X1 to X3), manifests (M1 to M6)."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Optional

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from countersign import (BY_KEY, CERTIFICATES, CERTIFIED, FIRST_USE, MANIFEST, PASSWORD, SERVER_HELLO, VERIFIED,
                         ByCertificates, ByFirstUse, ByManifest, ByOwnCertificate, ClientHello, Draws, Identity,
                         KeyLogin, Manifest, ManifestKey, Refused, ServerHello, Trust, certificate_list,
                         certificates_of, listed, lp)
from meeting import (GOOD, KEY, OPAQUE, OTHER, OTHER_PIN, OTHER_SPKI, PIN, PINNED, USER, Meeting, client, message,
                     ticket_for, with_tickets)
from report import Report, expect, refused
from selftest_keys import ED25519, taking

NOW = 1_800_000_000  # for what has times of its own
HOUR, YEAR = 3600, 365 * 24 * 3600
UNKNOWN: dict[str, Any] = {"pins": (), "known": (), "clock": lambda: NOW}


def trusting(*ways: Trust, credential: Any = GOOD, **options: Any) -> Any:
    return client(credential, **{**UNKNOWN, "trust": ways, "server_name": "db.example", **options})


def answering(**options: Any) -> Any:
    return taking(**{"names": None, **options})


def untrusted(rule: str, met: Meeting) -> None:
    """The client has refused the key (T1), and this is why."""
    met.came_to("T1", "ended")
    expect("the reasons", getattr(met.client, "reasons", ["no reasons"]), [rule])


# ---- Levels ---------------------------------------------------------------------------------------------------------

@dataclass
class Level:
    """Trusts any key so far."""

    given: int
    asks_for: tuple[int, ...] = ()

    def level(self, of: Any) -> int:
        if not self.given:
            raise Refused("T1", "not known")
        return self.given

    def still(self, *_: Any) -> Optional[bool]:
        return True if self.given else None


def levels(report: Report) -> None:
    def case(credential: Any, level: int, ours: str, **options: Any) -> None:
        met = Meeting(trusting(Level(level), credential=credential, **options), answering())
        met.came_to(ours, "ok" if ours == "ok" else "ended")

    by_key = KeyLogin(USER, ED25519)
    for about, credential, least in (("a password", GOOD, CERTIFIED), ("a token", OPAQUE, CERTIFIED),
                                     ("a key", by_key, FIRST_USE)):
        for level in (0, FIRST_USE, CERTIFIED, VERIFIED):
            rule = "T1" if not level else "ok" if level >= least else "T5"
            report.case(f"{rule}, {about} at level {level}", lambda: case(credential, level, rule))
    report.case("a password at first use, where the user says so", lambda: case(
        GOOD, FIRST_USE, "ok", needs={PASSWORD: FIRST_USE}))
    report.case("T5, a key's signature, where the user says so", lambda: case(
        by_key, CERTIFIED, "T5", needs={BY_KEY: VERIFIED, PASSWORD: VERIFIED}))

    def highest(ways: list[int], level: int) -> None:
        end = trusting(*map(Level, ways), credential=by_key)
        Meeting(end, answering()).came_to("ok", "ok")
        expect("the level", end.level, level)

    for ways, level in (([1, 3, 2], 3), ([0, 1], 1), ([2, 0], 2)):
        report.case(f"the highest of {ways}", lambda: highest(ways, level))

    def first_use() -> None:
        hosts = ByFirstUse()
        Meeting(trusting(hosts, credential=by_key), answering()).came_to("ok", "ok")
        Meeting(trusting(hosts, credential=by_key), answering()).came_to("ok", "ok")
        Meeting(trusting(hosts, credential=by_key), answering(key=OTHER)).came_to("T1", "ended")
        for level in (FIRST_USE, CERTIFIED, VERIFIED):
            met = Meeting(trusting(hosts, Level(level), credential=by_key), answering(key=OTHER))
            untrusted("H2", met)
            untrusted("H2", Meeting(trusting(Level(level), hosts, credential=by_key), answering(key=OTHER)))
        untrusted("H2", Meeting(trusting(hosts, credential=by_key, pins=[OTHER_PIN]), answering(key=OTHER)))
        Meeting(trusting(hosts, credential=by_key, server_name="other"), answering(key=OTHER)).came_to("ok", "ok")
        untrusted("H1", Meeting(trusting(ByFirstUse(revoked={PIN}), Level(3)), answering()))

    report.case("first use, and what it refuses from then on", first_use)

    def tickets_at_first_use() -> None:
        """A key's ticket is shown at the level that the key's signature needs."""
        hosts, shared = ByFirstUse(), with_tickets(check=taking().verify, names=None)
        options = {"trust": [hosts], "server_name": "db.example", "pins": (), "known": ()}
        shown = ticket_for(taking(**shared), by_key, **options)
        met = Meeting(client(by_key, ticket=shown, **options), taking(**shared)).came_to("ok", "ok")
        expect("resumed", met.client.session.resumed, True)  # type: ignore[union-attr]
        hosts.revoked.add(PIN)
        expect("shown", client(by_key, ticket=met.ticket(), **options).ticket, None)
        # Also where something else speaks for the key.
        for pins, ways in (([PIN], [hosts]), ([], [Level(VERIFIED), hosts])):
            shown = replace(met.ticket(), shown=False)
            expect("shown", client(by_key, ticket=shown, **{**options, "pins": pins, "trust": ways}).ticket, None)

    report.case("a ticket of a key trusted at first use", tickets_at_first_use)


# ---- Certificates ---------------------------------------------------------------------------------------------------

class Authority:
    """One that makes certificates; each has what a stranger's has, but for what a case says."""

    def __init__(self, name: str, parent: Optional[Authority] = None, now: int = NOW):
        self.now: int = parent.now if parent else now
        self.key, self.name = ec.generate_private_key(ec.SECP256R1()), x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        issuer = parent or self
        self.certificate = issuer.issue(self.key.public_key(), self.name, [
            (x509.BasicConstraints(True, None), True), (usage, True)])
        # Up to the root, without it.
        self.chain: list[x509.Certificate] = [self.certificate, *parent.chain] if parent else []

    def at(self, seconds: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.now + seconds, datetime.timezone.utc)

    def issue(self, key: Any, subject: x509.Name, extensions: Iterable[tuple[Any, bool]], begins: int = -HOUR,
              ends: int = YEAR) -> x509.Certificate:
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
                   .serial_number(x509.random_serial_number()).not_valid_before(self.at(begins))
                   .not_valid_after(self.at(ends))
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, key: Any = KEY, names: Iterable[str] = ("db.example",), addresses: Iterable[str] = (),
               authority: bool = False, enciphers: Optional[bool] = True, uses: Any = ExtendedKeyUsageOID.SERVER_AUTH,
               **times: int) -> list[bytes]:
        """The chain of a server, in DER, without the root."""
        subject: list[x509.GeneralName] = [*map(x509.DNSName, names)]
        subject += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        extensions: list[tuple[Any, bool]] = [(x509.BasicConstraints(authority, None), True)]
        if subject:
            extensions.append((x509.SubjectAlternativeName(subject), True))
        if enciphers is not None:
            extensions.append((x509.KeyUsage(not enciphers, False, enciphers, False, False, False, False, False, False),
                               True))
        if uses:
            extensions.append((x509.ExtendedKeyUsage([uses]), False))
        leaf = self.issue(key.public_key(), x509.Name([]), extensions, **times)
        return [der(certificate) for certificate in (leaf, *self.chain)]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def certificates(report: Report) -> None:
    root, other = Authority("root"), Authority("another root")
    below = Authority("intermediate", root)
    lowest = Authority("lowest", below)

    def meet(chain: list[bytes], *, roots: Any = (root,), name: str = "", **options: Any) -> Meeting:
        way = ByCertificates([authority.certificate for authority in roots], name)
        return Meeting(trusting(way, **options), answering(certificates=chain))

    for about, authority in (("a root's", root), ("an intermediate's", below), ("under two", lowest)):
        report.case(f"certificates: {about}", lambda: meet(authority.server()).came_to("ok", "ok"))
    report.case("certificates: one root of several", lambda: meet(below.server(), roots=[other, root]).came_to(
        "ok", "ok"))
    report.case("certificates: no key usages are stated", lambda: meet(root.server(enciphers=None)).came_to("ok", "ok"))
    report.case("certificates: one of several names", lambda: meet(root.server(names=["a.example", "db.example"])
                                                                   ).came_to("ok", "ok"))
    report.case("certificates: a name of the client's own", lambda: meet(
        root.server(names=["host.example"]), name="host.example", server_name="").came_to("ok", "ok"))
    for address in ("127.0.0.1", "::1"):
        report.case(f"certificates: for {address}", lambda: meet(
            root.server(names=(), addresses=[address]), name=address).came_to("ok", "ok"))

    for rule, about, chain in (
            ("X1", "another key's", root.server(OTHER)), ("X1", "the order is another", below.server()[::-1]),
            ("X2", "a certificate authority's", root.server(authority=True)),
            ("X2", "no keyEncipherment", root.server(enciphers=False)),
            ("X2", "no serverAuth", root.server(uses=ExtendedKeyUsageOID.CLIENT_AUTH)),
            ("X3", "for another name", root.server(names=["elsewhere.example"])),
            ("X3", "for no name", root.server(names=())),
            ("X3", "for an address", root.server(names=(), addresses=["127.0.0.1"])),
            ("T1", "it has expired", root.server(begins=-2 * HOUR, ends=-HOUR)),
            ("T1", "it is not valid yet", root.server(begins=HOUR)), ("T1", "of another root", other.server()),
            ("T1", "the intermediate is missing", below.server()[:1]),
            ("T1", "the one in the middle is missing", lowest.server()[:1] + lowest.server()[2:]),
            ("T1", "no certificate", [b"certificate"]), ("T1", "a byte too many", [root.server()[0] + b"\0"]),
            ("T1", "none", [])):
        report.case(f"T1, certificates: {rule}, {about}", lambda: untrusted(rule, meet(chain)))
    report.case("T1, certificates: X3, another address", lambda: untrusted("X3", meet(
        root.server(names=(), addresses=["127.0.0.1"]), name="127.0.0.2")))
    report.case("T1, certificates: X3, no name is known", lambda: untrusted("X3", meet(
        root.server(), server_name="")))
    report.case("T1, certificates: no root", lambda: untrusted("T1", meet(root.server(), roots=[other])))

    def sent(asked: bool, chain: list[bytes]) -> None:
        end = trusting(ByCertificates([root.certificate]) if asked else Level(3))
        met = Meeting(end, answering(certificates=chain))
        met.came_to("T1", "ended") if asked and not chain else met.came_to("ok", "ok")
        said = dict(ServerHello.decode(met.down[0][3:]).extensions)
        offered = dict(ClientHello.decode(met.up[0][3:]).extensions)
        expect("asked for", offered.get(CERTIFICATES), b"" if asked else None)
        expect("certificates sent", certificates_of(said[CERTIFICATES]) if CERTIFICATES in said else None,
               chain if asked and chain else None)

    report.case("certificates that are asked for are sent", lambda: sent(True, below.server()))
    report.case("certificates that nobody asks for are not", lambda: sent(False, below.server()))
    report.case("a server without certificates sends none", lambda: sent(True, []))

    def unasked() -> None:
        """A server that sends what nobody asked for."""
        met = Meeting(client(**PINNED), answering(names=None, draws=Draws(extensions=[
            (CERTIFICATES, certificate_list(root.server())), (MANIFEST, b"none")]))).came_to("ok", "ok")
        expect("sent", len(ServerHello.decode(met.down[0][3:]).extensions), 2)

    report.case("what nobody asked for is skipped", unasked)

    def asked_with_data() -> None:
        end = trusting(Level(3), draws=Draws(extensions=[(CERTIFICATES, b"x"), (MANIFEST, bytes(9))]))
        met = Meeting(end, answering(certificates=root.server(), draws=Draws(extensions=[]))).came_to("ok", "ok")
        expect("sent", [number for number, _ in ServerHello.decode(met.down[0][3:]).extensions], [CERTIFICATES])

    report.case("data in the hello that should be empty", asked_with_data)
    for about, data in (("no list", b"\2"), ("an empty list", b"\0"), ("nothing", b""),
                        ("a byte too many", certificate_list(root.server()) + b"\0"),
                        ("nine", listed(map(lp, root.server() * 9)))):
        def broken() -> None:
            changed = {SERVER_HELLO: message(ServerHello, extensions=lambda _: [(CERTIFICATES, data)])}
            untrusted("T1", Meeting(trusting(ByCertificates([root.certificate])), answering(), down=changed))

        report.case(f"T1, certificates that are none: {about}", broken)

    def own(about: str, rule: str, key: Any = KEY, **options: Any) -> None:
        way = ByOwnCertificate(x509.load_der_x509_certificate(root.server(**options)[0]))
        met = Meeting(trusting(way), answering(key=key))
        report.case(f"{rule}, the server's certificate itself: {about}", lambda: (
            met.came_to("ok", "ok") if rule == "ok" else untrusted(rule, met)))

    own("good", "ok")
    own("an authority's", "ok", authority=True)
    own("another key's", "X1", OTHER)
    own("for another name", "X3", names=["a"])
    own("it has expired", "T1", begins=-2 * HOUR, ends=-HOUR)


# ---- Manifests ------------------------------------------------------------------------------------------------------

IDENTITY, IMPOSTOR = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
IDENTITY_KEY = IDENTITY.public_key().public_bytes_raw()


def manifest(sequence: int = 7, issued: int = NOW - HOUR, expires: int = NOW + HOUR, names: Any = ("db.example",),
             keys: Any = (PIN,), begins: int = NOW - HOUR, ends: int = NOW + HOUR, floor: int = 2,
             by: Ed25519PrivateKey = IDENTITY) -> bytes:
    listed_ = [key if isinstance(key, ManifestKey) else ManifestKey(key, begins, ends, floor) for key in keys]
    return Manifest(b"", sequence, issued, expires, list(names), listed_).sign(by)


def manifests(report: Report) -> None:
    def meet(data: bytes, taken: Optional[bytes] = None, at_server: Optional[dict[str, Any]] = None,
             **options: Any) -> Meeting:
        way = ByManifest(Identity(IDENTITY_KEY, taken))
        met = Meeting(trusting(way, **options), answering(**{"manifest": data, **(at_server or {})}))
        is_taken = getattr(met.client, "reasons", ["M6"]) == ["M6"]
        expect("the manifest taken", way.identity.taken, data if data and is_taken else taken)
        return met

    def resigned(change: Callable[[bytes], bytes]) -> bytes:
        """With other bytes up to the end of keys, and signed again."""
        unsigned = change(manifest()[:-64])
        return unsigned + IDENTITY.sign(lp(b"countersign v1 manifest") + unsigned)

    def altered(position: int) -> bytes:
        data = bytearray(manifest())
        data[position] ^= 1
        return bytes(data)

    many = [ManifestKey(bytes([n]) * 32, NOW, NOW + 1) for n in range(7)] + [ManifestKey(PIN, NOW, NOW + 1)]
    plain = manifest()
    for about, data, options in (
            ("one name, one key", plain, {}), ("no names", manifest(names=()), {}),
            ("no names, and none in the hello", manifest(names=()), {"server_name": ""}),
            ("sixteen names, eight keys", manifest(names=[f"n{n}" for n in range(15)] + ["db.example"], keys=many), {}),
            ("names as long as they may be", manifest(names=["x" * 255, "db.example"]), {}),
            ("its first second", manifest(begins=NOW), {}),
            ("its last second", manifest(expires=NOW + 1, ends=NOW + 1), {}),
            ("a minute from now", manifest(issued=NOW + 60), {}), ("sequence 1", manifest(1), {}),
            ("the highest sequence", manifest(2 ** 64 - 1), {}), ("no floor", manifest(floor=0), {}),
            ("times of all bits", manifest(expires=2 ** 64 - 1, ends=2 ** 64 - 1), {}),
            ("the key's floor", manifest(floor=3), {"suites": [0x0301]}),
            ("the same again", plain, {"taken": plain}), ("the next", manifest(8), {"taken": plain})):
        report.case(f"a manifest: {about}", lambda: meet(data, **options).came_to("ok", "ok"))

    def case(rule: str, about: str, data: bytes, **options: Any) -> None:
        report.case(f"T1, a manifest: {rule}, {about}", lambda: untrusted(rule, meet(data, **options)))

    case("M1", "a byte too many", plain + b"\0")
    case("M1", "a byte too few", plain[:-1])
    case("M1", "nothing but a byte", b"\0")
    case("M1", "sequence 0", manifest(0))
    case("M1", "no keys", manifest(keys=()))
    case("M1", "nine keys", manifest(keys=many + [ManifestKey(bytes([9]) * 32, NOW, NOW + 1)]))
    case("M1", "a key twice", manifest(keys=[PIN, PIN]))
    case("M1", "a name twice", manifest(names=["db.example", "db.example"]))
    case("M1", "seventeen names", manifest(names=[f"n{n}" for n in range(16)] + ["db.example"]))
    case("M1", "an empty name", manifest(names=["", "db.example"]))
    case("M1", "a name with a space", manifest(names=["a b", "db.example"]))
    case("M1", "a long name", manifest(names=["x" * 256, "db.example"]))
    case("M1", "it expires when it was issued", manifest(issued=NOW, expires=NOW))
    case("M1", "a key ends when it begins", manifest(begins=NOW, ends=NOW))
    case("M1", "another key ends before it begins", manifest(keys=[PIN, ManifestKey(OTHER_PIN, 2, 1)]))
    case("M1", "a name that is not UTF-8", resigned(lambda data: data.replace(b"db.example", b"db.exampl\xff")))
    case("M2", "of another identity", manifest(by=IMPOSTOR))
    case("M2", "of another identity, signed by this one", IMPOSTOR.public_key().public_bytes_raw() + plain[32:])
    for position in (32, 39, 45, 60, 80, -65, -64, -1):
        case("M2", f"byte {position} altered", altered(position))
    case("M2", "another signature's words", plain[:-64] + IDENTITY.sign(plain[:-64]))
    case("M2", "S not below the order", plain[:-32] + (int.from_bytes(plain[-32:], "little") + 2 ** 252
                                                       + 27742317777372353535851937790883648493).to_bytes(32, "little"))
    neutral = b"\1" + bytes(31)
    report.case("T1, a manifest: M2, an identity of small order", lambda: refused("M2", lambda: Identity(neutral).judge(
        neutral + plain[32:-64] + neutral + bytes(32), PIN, 0x0301, "db.example", NOW)))
    elsewhere = manifest(keys=[OTHER_PIN])
    case("M3", "a lower sequence", manifest(6), taken=elsewhere)
    case("M3", "the same sequence, other bytes", manifest(expires=NOW + HOUR + 1), taken=elsewhere)
    case("M6", "none sent, and the one kept names another key", b"", taken=elsewhere)
    case("M4", "none sent, and the one kept has expired", b"", taken=manifest(expires=NOW))
    def kept_instead() -> None:
        way = ByManifest(Identity(IDENTITY_KEY, plain))
        Meeting(trusting(way), answering(manifest=b"")).came_to("ok", "ok")
        expect("the manifest taken", way.identity.taken, plain)

    report.case("a manifest that is kept takes the place of one that is not sent", kept_instead)
    for rule, about, data in (("M1", "broken", b"x"), ("M2", "of another identity", manifest(8, by=IMPOSTOR)),
                              ("M2", "altered", altered(39)), ("M4", "expired", manifest(8, expires=NOW)),
                              ("M4", "of the future", manifest(8, issued=NOW + 61)),
                              ("M5", "of another name", manifest(8, names=["a"])),
                              ("M3", "a lower sequence", manifest(6)),
                              ("M3", "the same sequence", manifest(expires=NOW + HOUR + 1))):
        case(rule, f"and the one kept, which names the key, does not take its place (M7): {about}", data, taken=plain)
        veto = rule == "M3"

        def pinned() -> None:
            way = ByManifest(Identity(IDENTITY_KEY, plain))
            met = Meeting(trusting(way, pins=[PIN]), answering(manifest=data))
            untrusted(rule, met) if veto else met.came_to("ok", "ok")
            expect("the manifest taken", way.identity.taken, plain)

        report.case(f"a manifest: {rule}, {about}, of a key that is pinned ({'M8' if veto else 'it is trusted'})", pinned)
    case("M4", "it has expired", manifest(expires=NOW))
    case("M4", "issued over a minute from now", manifest(issued=NOW + 61, expires=NOW + HOUR))
    case("M5", "of another name", manifest(names=["a"]))
    case("M5", "of other letters", manifest(names=["DB.example"]))
    case("M5", "of a name, and none in the hello", plain, server_name="")
    case("M6", "another key", manifest(keys=[OTHER_PIN]))
    case("M6", "the key is not to be used yet", manifest(begins=NOW + 1))
    case("M6", "the key is not to be used any more", manifest(ends=NOW))
    case("M6", "under the key's floor", manifest(floor=3), suites=[0x0202])
    case("M6", "a floor that no suite reaches", manifest(floor=4))
    case("T1", "none", b"")

    def rollback() -> None:
        """The server's key changes, and somebody with the old one plays the old manifest."""
        identity = Identity(IDENTITY_KEY)
        old, new = manifest(1, keys=[PIN]), manifest(2, keys=[PIN, OTHER_PIN])
        last = manifest(3, keys=[OTHER_PIN])
        for data, key, rule in ((old, KEY, ""), (new, KEY, ""), (new, OTHER, ""), (last, OTHER, ""), (last, KEY, "M6"),
                                (new, KEY, "M3"), (old, KEY, "M3"), (last, OTHER, "")):
            met = Meeting(trusting(ByManifest(identity)), answering(key=key, manifest=data))
            untrusted(rule, met) if rule else met.came_to("ok", "ok")
        expect("the manifest taken", identity.taken, last)

    report.case("M3, a rollback, while the key changes", rollback)

    def forgetful() -> None:
        """Without its memory a client does not notice."""
        for data in (manifest(3), manifest(2)):
            Meeting(trusting(ByManifest(Identity(IDENTITY_KEY))), answering(manifest=data)).came_to("ok", "ok")

    report.case("M3, a client that keeps nothing does not notice", forgetful)

    def stolen_key() -> None:
        """A manifest is no proof: who plays it without the server key gets nothing."""
        end = trusting(ByManifest(Identity(IDENTITY_KEY)))
        changed = {SERVER_HELLO: message(ServerHello, key_id=lambda _: OTHER_PIN, spki=lambda _: OTHER_SPKI)}
        Meeting(end, answering(manifest=manifest(keys=[OTHER_PIN])), down=changed).came_to("V2", "L6")

    report.case("a manifest in the hands of a server with another key", stolen_key)

    def both() -> None:
        """A manifest that is refused says nothing, and something else may speak for the key."""
        end = trusting(ByManifest(Identity(IDENTITY_KEY)), Level(VERIFIED))
        Meeting(end, answering(manifest=manifest(by=IMPOSTOR))).came_to("ok", "ok")

    report.case("a manifest that is refused, and another way", both)

    def kept() -> None:
        """The server key, learned under the manifest, proves itself next time; and tickets are for keys still named."""
        identity, shared = Identity(IDENTITY_KEY), with_tickets(names=None, manifest=plain)
        first = trusting(ByManifest(identity))
        shown = Meeting(first, answering(**shared)).came_to("ok", "ok").ticket()
        met = Meeting(trusting(ByManifest(identity), known=[first.told]), answering(**shared)).came_to("ok", "ok")
        expect("a proof", len(ServerHello.decode(met.down[0][3:]).proof), 32)
        expect("shown", trusting(ByManifest(identity), ticket=replace(shown)).ticket is not None, True)
        identity.taken = manifest(8, keys=[OTHER_PIN])
        expect("shown", trusting(ByManifest(identity), ticket=replace(shown)).ticket, None)

    report.case("what is kept of a manifest", kept)

    def whole_size() -> None:
        names = [f"{n:02}" + "x" * 253 for n in range(16)]
        data = manifest(names=names, keys=[ManifestKey(bytes([n]) * 32, 1, 2) for n in range(8)])
        expect("bytes", len(data), 32 + 24 + 1 + 16 * 257 + 1 + 8 * 49 + 64)

    report.case("the longest manifest", whole_size)
