"""The command and clients with keys of their own: `countersign serve` with an account that has some, and `countersign
login` that signs."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (BestAvailableEncryption, Encoding, NoEncryption,
                                                          PrivateFormat, PublicFormat)

from command import SECRET, USER, Command, PeerServer, RustServer
from countersign import BY_KEY, PASSWORD, KeyLogin, PrivateKey, Server, fingerprint, key_id, spki_of
from report import Report, expect
from selftest_keys import ALL_KINDS, CLIENT_KEYS, ED25519, Shows, Unchecked, bad_proofs, bad_shapes, verify_key
from serve_cases import rejected, session, stops

PASSPHRASE = b"a passphrase for a file"


def key_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    if not command.can("user", "key", "add"):
        report.left_out("keys of clients")
        return
    files = {about: write(command, about.split()[0].lower().replace("-", ""), own)
             for about, own in CLIENT_KEYS.items()}
    command.run("user", "add", USER, "--users", "keys.txt", "--permission", "read", "--permission", "write",
                "--password-stdin", stdin=SECRET + b"\n")
    for file in files.values():
        command.run("user", "key", "add", USER, "--users", "keys.txt", "--key", f"{file}.pub")
    serve_cases(report, command, name, key)
    if command.has("login", "--identity"):
        login_cases(report, command, key, files)
    else:
        report.left_out("identities")


def write(command: Command, name: str, key: PrivateKey) -> str:
    """The key as files: PKCS#8, as it is and encrypted, and as OpenSSH writes it; and its public half, one line and
    PEM."""
    forms = {name: (PrivateFormat.OpenSSH, NoEncryption()), f"{name}.pem": (PrivateFormat.PKCS8, NoEncryption()),
             f"{name}.enc.pem": (PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE))}
    for file, (form, encryption) in forms.items():
        path = command.folder / file
        path.write_bytes(key.private_bytes(Encoding.PEM, form, encryption))
        path.chmod(0o600)
    public = key.public_key()
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" a@b\n"
    (command.folder / f"{name}.pub").write_bytes(line)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (command.folder / f"{name}.pub.pem").write_bytes(pem)
    return name


def serve_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    spki = spki_of(key.public_key())
    trusts = (("with a proof", (), [spki]), ("without", [key_id(spki)], ()))
    with RustServer(command, f"{name}.pem", "60s", users="keys.txt") as server:
        for about, pins, known in trusts:
            for which, own in CLIENT_KEYS.items():
                for suite in (0x0301, 0x0202):
                    client = server.client(KeyLogin(USER, own), pins, known, suites=[suite])
                    report.case(f"serve, a key: {which}, {suite:04x}, {about}", lambda: session(server, client))
            stranger = Ed25519PrivateKey.generate()
            for why, login in (("a key of nobody's", KeyLogin(USER, stranger)),
                               ("an unknown user", KeyLogin("mallory", ED25519))):
                report.case(f"serve, a key: L10, {why}, {about}", lambda: rejected(
                    server, server.client(login, pins, known), "V4"))
            for why, make in {**bad_proofs(), **bad_shapes()}.items():
                report.case(f"serve, a key: L8 or L11, {why}, {about}", lambda: rejected(
                    server, server.client(Shows(USER, ED25519, make), pins, known, base=Unchecked), "V4"))
        report.case("serve, a key: a resumption", lambda: resumed(server, spki))
    with RustServer(command, f"{name}.pem", "60s") as server:
        report.case("serve, a key: T3 or V4, an account without one", lambda: stops(
            server, server.client(KeyLogin(USER, ED25519), (), [spki]), "V4"))


def resumed(server: RustServer, spki: bytes) -> None:
    login = KeyLogin(USER, ED25519)
    first = session(server, server.client(login, (), [spki]))
    again = session(server, server.client(login, (), [spki], ticket=first.ticket))
    expect("resumed", again.resumed, True)


def login_cases(report: Report, command: Command, key: rsa.RSAPrivateKey, files: dict[str, str]) -> None:
    spki = spki_of(key.public_key())
    pinned, whole = ("--pin", fingerprint(key_id(spki))), ("--server-key", "keygen.pub.pem")

    def case(about: str, status: int, outcome: str, identity: str, *, trust: tuple[str, ...] = pinned,
             user: str = USER, **options: object) -> None:
        def step() -> None:
            with PeerServer(lambda: Server(key, **{"verify": verify_key, "kinds": ALL_KINDS, "names": None,
                                                   **options})) as peer:  # type: ignore[arg-type]
                done = command.run("login", "--server", peer.address, "--user", user, "--identity", identity, *trust,
                                   "--send", "whoami", "--send", "quit", status=status)
            expect("the server's end", peer.outcome, outcome)
            if status == 0:
                expect("the last answer", done.stdout.splitlines()[-1], b"bye")

        report.case(f"login, a key: {about}", step)

    for which, file in files.items():
        for suffix in ("", ".pem"):
            for about, trust in (("", pinned), (", with a proof", whole)):
                case(f"{which}, {file}{suffix}{about}", 0, "accepted", file + suffix, trust=trust)
    case("L10, an unknown user", 1, "L10", files["Ed25519"], user="mallory")
    case("T3, no keys are taken", 6, "ended", files["Ed25519"], kinds=[PASSWORD])
    case("keys alone are taken", 0, "accepted", files["Ed25519"], kinds=[BY_KEY])
    case("T1, another pin", 3, "ended", files["Ed25519"], trust=("--pin", fingerprint(bytes(32))))
