"""The command and how server keys are trusted: manifests, which either end makes for the other, and certificates."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Optional

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from command import GOOD, NAME, PERMISSIONS, SECRET, USER, Command, PeerServer, RustServer
from countersign import (ACCEPT, CERTIFICATES, MANIFEST, ByCertificates, ByManifest, Credential, Identity, Manifest,
                         ManifestKey, Server, ServerHello, Verdict, key_id, spki_of)
from meeting import OTHER_PIN
from report import Report, expect
from selftest_trust import Authority
from serve_cases import session, stops
from sockets import Stream

HOUR = 3600
# What the command calls what it has no cases for yet: the roots of `login`, and the certificates of `serve`.
ROOTS, CHAIN = "--roots", "--certificates"


def trust_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    if command.can("manifest", "sign"):
        manifests_of_login(report, command, key)
        manifests_of_serve(report, command, name, key)
    else:
        report.left_out("manifests")
    if command.has("login", ROOTS) and command.has("serve", CHAIN):
        certificate_cases(report, command, name, key)
    else:
        report.left_out("roots or certificates")


def accepts(credential: Credential) -> Optional[Verdict]:
    return Verdict(ACCEPT, USER, PERMISSIONS) if credential == GOOD else None


# ---- Manifests ------------------------------------------------------------------------------------------------------

def manifests_of_login(report: Report, command: Command, key: rsa.RSAPrivateKey) -> None:
    """The Python server shows manifests made here to `countersign login`."""
    secret, impostor = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    path = command.folder / "login-identity.pub.pem"
    path.write_bytes(secret.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    now, pin = int(time.time()), key_id(spki_of(key.public_key()))

    def made(sequence: int = 7, issued: int = now - HOUR, expires: int = now + HOUR, names: Any = (),
             keys: Any = None, by: Ed25519PrivateKey = secret, **fields: int) -> bytes:
        of = {"not_before": now - HOUR, "not_after": now + HOUR, **fields}
        ids = [pin] if keys is None else keys
        return Manifest(b"", sequence, issued, expires, list(names), [ManifestKey(id_, **of) for id_ in ids]).sign(by)

    def login(data: bytes, rule: str, state: str, **options: Any) -> Server:
        ends: list[Server] = []

        def make() -> Server:
            ends.append(Server(key, accepts, manifest=data, **{"names": None, **options}))
            return ends[-1]

        with PeerServer(make) as peer:
            done = command.run("login", "--server", peer.address, "--user", USER, "--password-stdin", "--no-resume",
                               "--identity-key", str(path), "--send", "whoami", "--send", "quit", stdin=SECRET + b"\n",
                               status=3 if rule else 0, state=state)
        # A login that another has overtaken with a newer manifest is begun anew, once: two connections then.
        outcomes = set(peer.outcome.split()) if rule == "M3" else {peer.outcome}
        expect(f"the server's end ({done.stderr.decode().strip()})", outcomes, {"ended" if rule else "accepted"})
        return ends[0]

    def case(about: str, data: bytes, rule: str = "", before: bytes = b"", **options: Any) -> None:
        def step() -> None:
            state = command.state()
            if before:
                login(before, "", state)
            login(data, rule, state, **options)

        report.case(f"login, a manifest: {rule or 'good'}, {about}", step)

    good = made()
    case("one key", good)
    case("two keys", made(keys=[OTHER_PIN, pin]))
    case("issued in a minute's time", made(issued=now + 30))
    case("the same again", good, before=good)
    case("the next", made(8), before=good)
    case("a byte too many", good + b"\0", "M1")
    case("sequence 0", made(0), "M1")
    case("a key twice", made(keys=[pin, pin]), "M1")
    case("a key that ends when it begins", made(not_after=now - HOUR), "M1")
    case("another identity's", made(by=impostor), "M2")
    case("altered", good[:40] + b"\1" + good[41:], "M2")
    case("a rollback", made(6), "M3", before=good)
    case("a fork", made(expires=now + HOUR + 1), "M3", before=good)
    case("it has expired", made(expires=now - 1), "M4")
    case("issued in an hour", made(issued=now + HOUR, expires=now + 2 * HOUR), "M4")
    case("for another name", made(names=["elsewhere.example"]), "M5")
    case("another key's", made(keys=[OTHER_PIN]), "M6")
    case("a key that is not good yet", made(not_before=now + HOUR, not_after=now + 2 * HOUR), "M6")
    case("a key that is not good any more", made(not_after=now - 1), "M6")
    case("under the key's floor", made(floor=3), "M6", suites=[0x0201])
    case("none", b"", "no manifest")

    def kept() -> None:
        """The second time the server proves itself, and a server that sends none is judged by the one kept."""
        state = command.state()
        expect("a proof", login(good, "", state).proved, False)
        expect("a proof", login(good, "", state).proved, True)
        expect("a proof", login(b"", "", state).proved, True)

    report.case("login, a manifest: what is kept of it", kept)


def manifests_of_serve(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    """`countersign manifest sign` makes one, and `countersign serve` shows it to the Python client."""
    spki = spki_of(key.public_key())
    command.run("keygen", "--identity", "--out", "identity.pem")
    public = serialization.load_pem_public_key((command.folder / "identity.pub.pem").read_bytes())
    identity_key = public.public_bytes_raw()  # type: ignore[union-attr]

    def signs(*options: str) -> None:
        command.run("manifest", "sign", "--identity", "identity.pem", "--out", "manifest.pem", *options)

    def trusting(server: RustServer, identity: Identity, **options: Any) -> Any:
        return server.client(GOOD, trust=[ByManifest(identity)], **options)

    def refuses(server: RustServer, identity: Identity, rule: str, **options: Any) -> None:
        end = trusting(server, identity, **options)
        stops(server, end, "T1")

    signs("--key", f"{name}.pub.pem", "--name", NAME)
    identity = Identity(identity_key)
    with RustServer(command, f"{name}.pem", "60s", "--manifest", "manifest.pem") as server:
        report.case("serve, a manifest: M1 to M6", lambda: session(server, trusting(server, identity)))
        report.case("serve, a manifest: the key that it names proves itself", lambda: session(
            server, trusting(server, identity, known=[spki])))
        report.case("serve, a manifest: T1, of another identity", lambda: refuses(server, Identity(bytes(32)), "M2"))
        report.case("serve, a manifest: T1, for a name, and the client has none", lambda: refuses(
            server, Identity(identity_key), "M5", server_name=""))
        report.case("serve, a manifest: none where nobody asks", lambda: expect(
            "the extensions", sent(server, server.client(GOOD, [key_id(spki)])), []))
        report.case("serve, a manifest: one where somebody asks", lambda: expect(
            "the extensions", sent(server, trusting(server, identity)), [MANIFEST]))
    old = (command.folder / "manifest.pem").read_bytes()
    signs("--key", f"{name}.pub.pem", "--name", NAME)
    with RustServer(command, f"{name}.pem", "60s", "--manifest", "manifest.pem") as server:
        def next_one() -> None:
            before = Manifest.decode(identity.taken or b"").sequence
            session(server, trusting(server, identity))
            expect("the sequence", Manifest.decode(identity.taken or b"").sequence, before + 1)

        report.case("serve, a manifest: the next has the next sequence", next_one)
    (command.folder / "old.pem").write_bytes(old)
    with RustServer(command, f"{name}.pem", "60s", "--manifest", "old.pem") as server:
        def older(**options: Any) -> None:
            """Neither the one kept, which names the key, speaks for it now, nor a pin (M8)."""
            taken = identity.taken
            refuses(server, identity, "M3", **options)
            expect("the manifest taken", identity.taken, taken)

        report.case("serve, a manifest: M3, an older one is not taken", older)
        report.case("serve, a manifest: M3, nor with the key pinned", lambda: older(pins=[key_id(spki)]))


def sent(server: RustServer, client: Any) -> list[int]:
    """The extensions of the ServerHello, but for the reserved ones."""
    with server.connect() as sock:
        sock.sendall(client.hello())
        hello = ServerHello.decode(Stream(sock).frame({2}, "C1")[3:])
    return [number for number, _ in hello.extensions if number & 0x0f0f != 0x0a0a]


# ---- Certificates ---------------------------------------------------------------------------------------------------

def certificate_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    root, other = Authority("root", now=int(time.time())), Authority("another root", now=int(time.time()))
    below = Authority("intermediate", root)
    pem(command.folder / "root.pem", [root.certificate])

    def login(chain: list[bytes], status: int) -> None:
        with PeerServer(lambda: Server(key, accepts, names=None, certificates=chain)) as peer:
            command.run("login", "--server", peer.address, "--user", USER, "--password-stdin", "--no-resume", ROOTS,
                        "root.pem", "--trust", "strict", "--send", "quit", stdin=SECRET + b"\n", status=status)
        expect("the server's end", peer.outcome, "ended" if status else "accepted")

    def case(about: str, chain: list[bytes], status: int = 3) -> None:
        report.case(f"login, certificates: {about}", lambda: login(chain, status))

    local: dict[str, Any] = {"names": (), "addresses": ["127.0.0.1"], "key": key}
    case("a root's", root.server(**local), 0)
    case("an intermediate's", below.server(**local), 0)
    case("X1, another key's", root.server(**{**local, "key": rsa.generate_private_key(65537, 2048)}))
    case("X2, an authority's", root.server(**local, authority=True))
    case("X2, no keyEncipherment", root.server(**local, enciphers=False))
    case("X3, another address", root.server(**{**local, "addresses": ["127.0.0.2"]}))
    case("X3, a name", root.server(key, names=["db.example"]))
    case("another root's", other.server(**local))
    case("the intermediate is missing", below.server(**local)[:1])
    case("it has expired", root.server(**local, begins=-2 * HOUR, ends=-HOUR))
    case("none", [])

    pem(command.folder / "chain.pem", map(x509.load_der_x509_certificate, below.server(key, names=[NAME])))
    with RustServer(command, f"{name}.pem", "60s", CHAIN, "chain.pem") as server:
        report.case("serve, certificates: X1 to X3", lambda: session(server, server.client(
            GOOD, trust=[ByCertificates([root.certificate], NAME)])))
        report.case("serve, certificates: T1, another root", lambda: stops(server, server.client(
            GOOD, trust=[ByCertificates([other.certificate], NAME)]), "T1"))
        report.case("serve, certificates: T1, X3, another name", lambda: stops(server, server.client(
            GOOD, trust=[ByCertificates([root.certificate], "elsewhere.example")]), "T1"))
        report.case("serve, certificates: none where nobody asks", lambda: expect("the extensions", sent(
            server, server.client(GOOD, [key_id(spki_of(key.public_key()))])), []))
        report.case("serve, certificates: some where somebody asks", lambda: expect("the extensions", sent(
            server, server.client(GOOD, trust=[ByCertificates([root.certificate], NAME)])), [CERTIFICATES]))


def pem(path: Path, certificates: Any) -> None:
    path.write_bytes(b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates))
