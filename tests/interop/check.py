#!/usr/bin/env python3
"""Checks tests/vectors/*.json against countersign.py: every frame, secret, record and refusal is made anew.

Both ends are run with the draws of the vector, and each frame they make must be the vector's, byte for byte, RSA
ciphertexts included: OAEP is computed here from its seed, and the ciphertext decrypted by the library besides. Only an
ML-KEM ciphertext is the vector's own: the client must find the secret in it that belongs to what the server drew.
Where a frame was altered on the way (ALTERED), the same alteration must give the vector's frame. A resumption is run
with the ticket of the vector, and with a server that knows what the vector says of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from countersign import (BINDER, CLOSE, DATA, KEY_UPDATE, OAEP, PARTS, PASSWORD, RSA_ALONE, RSA_X25519,
                         RSA_X25519MLKEM768, TAG, TOKEN, VERDICT_SIZE, X25519, Account, Client, ClientHello,
                         Credential, Draws, MlKem768, Part, Refused, Schedule, Sealed, Server, ServerHello,
                         ServerResumption, Session, Ticket, Tickets, Verdict, binder, client_exchange, expand, extract,
                         frame, key_id, seed, spki_of)

ROOT = Path(__file__).resolve().parents[2]
VECTORS = sorted((ROOT / "tests/vectors").glob("*.json"))


def same(what: str, ours: object, filed: object) -> None:
    if ours != filed:
        raise AssertionError(f"{what}: {short(ours)} here, {short(filed)} in the vector")


def short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}... ({len(text) // 2} bytes)"


def private_key(der: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_der_private_key(der, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def pem(path: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key((ROOT / path).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


# ---- What is altered on the way -------------------------------------------------------------------------------------

def flip(at: int, mask: int = 1) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ mask]) + data[at + 1:]


def login_body(change: Callable[[bytes, bytes], bytes]) -> Callable[[bytes], bytes]:
    """Changes a ClientLogin for a key of 2048 bits, given as the field rsa_ciphertext and the rest."""
    return lambda data: frame(data[0], change(data[3:3 + 258], data[3 + 258:]))


# The vector's name: which frame, and how.
ALTERED: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "c4-suite-not-offered": (2, flip(6, 3)),
    "c8-key-id-mismatch": (2, flip(3 + 2 + 2 + 32)),
    # The X25519 part of the server's share, before the list of two credential kinds.
    "c9-all-zero-output": (2, lambda data: data[:-35] + bytes(32) + data[-3:]),
    "l2-trailing-byte": (3, login_body(lambda wrapped, sealed: wrapped + sealed + b"\0")),
    "l3-ciphertext-range": (3, login_body(lambda wrapped, sealed: wrapped[:2] + b"\xff" * 256 + sealed)),
    "l4-sealed-length": (3, login_body(lambda wrapped, sealed: wrapped + b"\x01\x0f" + sealed[2:-1])),
    "l6-not-decrypted": (3, flip(3 + 2 + 255)),
    "l6-other-challenge": (2, flip(3 + 2 + 2)),
    "l7-credential-altered": (3, flip(3 + 258 + 2)),
    # The first two coefficients of the encapsulation key.
    "s9-encapsulation-key": (1, lambda data: data[:45] + b"\xff" * 3 + data[48:]),
    "v2-verdict-altered": (4, flip(3)),
}

# What a client that breaks L8 or L9 seals instead of its credential.
SEALED = {
    "l8-padding": Credential(PASSWORD, "alice", b"correct horse battery staple\x01"),
    "l8-empty-user": Credential(PASSWORD, "", b"correct horse battery staple"),
    "l9-kind-not-taken": Credential(TOKEN, "", b"an-opaque-token"),
}


def sealed_instead(name: str) -> bytes:
    data = SEALED[name].encode_padded()
    # The first byte of the padding is 1: the secret's length leaves it out.
    return data.replace(b"\x00\x1d", b"\x00\x1c", 1) if name == "l8-padding" else data


# ---- One vector -----------------------------------------------------------------------------------------------------

def oaep(key: rsa.RSAPublicKey, message: bytes, seed: bytes) -> bytes:
    """RSAES-OAEP-ENCRYPT of RFC 8017, with SHA-256, the empty label, and the seed given."""
    n, e = key.public_numbers().n, key.public_numbers().e
    size = (n.bit_length() + 7) // 8

    def masked(data: bytes, by: bytes) -> bytes:
        blocks = (hashlib.sha256(by + count.to_bytes(4, "big")).digest() for count in range(len(data) // 32 + 1))
        return bytes(a ^ b for a, b in zip(data, b"".join(blocks)))

    block = hashlib.sha256(b"").digest() + bytes(size - len(message) - 66) + b"\x01" + message
    masked_block = masked(block, seed)
    encoded = b"\0" + masked(seed, masked_block) + masked_block
    return pow(int.from_bytes(encoded, "big"), e, n).to_bytes(size, "big")


class SeededClient(Client):
    """A client whose OAEP seed is given, too."""

    seed: bytes
    private_key: rsa.RSAPrivateKey

    def wrap(self, key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
        ciphertext = oaep(key, plaintext, self.seed)
        same("the decrypted rsa_ciphertext", self.private_key.decrypt(ciphertext, OAEP), plaintext)
        return ciphertext


class VectorServer(Server):
    """A server with the ML-KEM ciphertext of the vector, and the secret that the client finds in it: the library draws
    its own. X25519's part is computed, of the share and of the secret."""

    filed: bytes  # the whole share
    client: Draws

    def exchange(self, suite: int, hello: ClientHello) -> tuple[bytes, bytes]:
        share, secret = super().exchange(suite, hello)
        share = self.filed[:-32] + share[-32:]
        opened = client_exchange(suite >> 8, self.client.exchanges[suite >> 8], share, "of the vector")
        same("X25519's part of exchange_secret", secret[-32:], opened[-32:])
        return share, opened


def verify(credential: Credential) -> Optional[Verdict]:
    """The accounts that the vectors were made with."""
    if (credential.kind, credential.user, credential.secret) == (PASSWORD, "alice", b"correct horse battery staple"):
        return Verdict(True, "alice", ["read", "write"])
    if (credential.kind, credential.secret) == (TOKEN, b"an-opaque-token"):
        return Verdict(True, "robot")
    return None


def refused(what: str, rule: Optional[str], step: Callable[[], Any]) -> Any:
    """Takes a step that must be refused by this rule; None: must not be refused."""
    try:
        result = step()
    except Refused as why:
        same(what, why.rule, rule)
        return None
    same(what, None, rule)
    return result


# The secret of a part of a key exchange, from what both ends drew alone. The server draws m for ML-KEM, and the secret
# is the first half of G(m || H(encapsulation key)) (FIPS 203, algorithm 17).
SECRET: dict[Part, Callable[[bytes, bytes], bytes]] = {
    X25519: lambda client, server: X25519.finish(client, X25519.offer(server)),
    MlKem768: lambda client, m: hashlib.sha3_512(m + hashlib.sha3_256(MlKem768.offer(client)).digest()).digest()[:32],
}


class Vector:
    """What vectors of logins and of resumptions have in common."""

    def __init__(self, path: Path, data: dict[str, Any]):
        self.name, inputs = data["name"], data["inputs"]
        self.secrets, self.records = data["secrets"], data["records"]
        self.frames = [bytes.fromhex(text) for text in data["frames"]]
        self.suite = int(data["suite"], 16)
        self.raw = {name: bytes.fromhex(text) for name, text in inputs.items()
                    if isinstance(text, str) and name not in ("server_name", "binding_type", "credential_user")}
        same("the name", self.name, path.stem)
        self.prologue, self.binding = self.raw["prologue"], (inputs["binding_type"], self.raw["binding_bytes"])

    def draws(self, end: str) -> Draws:
        """Of the `client` or the `server`."""
        raw, joined = self.raw, self.raw.get(f"{end}_x25519mlkem768", b"")
        parts = {RSA_ALONE: [], RSA_X25519: [raw[f"{end}_x25519"]], RSA_X25519MLKEM768: [joined[:-32], joined[-32:]]}
        return Draws(raw[f"{end}_nonce"], parts, raw.get("rsa_secret", b""), raw.get("fallback", b""))

    def exchange_secret(self) -> bytes:
        exchange = self.suite >> 8
        drawn = zip(PARTS[exchange], self.draws("client").exchanges[exchange], self.draws("server").exchanges[exchange])
        return b"".join(SECRET[part](client, server) for part, client, server in drawn) or bytes(32)

    def same_secrets(self, ours: dict[str, bytes], schedule: Schedule) -> None:
        """These, and those that the schedule has at the end of the handshake."""
        session = Session(schedule, Verdict(True), is_client=True)
        client, server = session.outgoing, session.incoming
        ours |= {"master": schedule.master, "transcript_4": schedule.transcript(), "client_traffic": client.secret,
                 "server_traffic": server.secret, "exporter": session.exporter, "session_id": session.session_id}
        derived = {"client_key": client.key, "client_iv": client.iv, "server_key": server.key, "server_iv": server.iv,
                   "client_traffic_updated": expand(client.secret, b"update", b"", 32)}
        if derived.keys() & self.secrets.keys():  # a resumption's vector has none of them
            ours |= derived
        same("the names of the secrets", sorted(ours), sorted(self.secrets))
        for name, value in ours.items():
            same(name, value.hex(), self.secrets[name])

    def check_session(self, client: Session, server: Session) -> None:
        for session in (client, server):
            same("session_id", session.session_id.hex(), self.secrets["session_id"])
            exported = session.export(self.records["export_label"], bytes.fromhex(self.records["export_context"]), 48)
            same("exported", exported.hex(), self.records["exported"])
        same("the verdict", client.verdict, server.verdict)
        for sender, receiver, filed, sent in [
                (client, server, self.records["client"],
                 [(DATA, b"whoami\n"), (KEY_UPDATE, b""), (DATA, b"quit\n"), (CLOSE, b"")]),
                (server, client, self.records["server"], [(DATA, b"alice\n"), (CLOSE, b"")])]:
            records = [bytes.fromhex(text) for text in filed]
            same("the number of records", len(records), len(sent))
            for record, (kind, data) in zip(records, sent):
                same("a record", sender.outgoing.seal(kind, data), record)
                same("an opened record", refused("a record", None, lambda: receiver.incoming.open(record)), data)
            refused("a record after the Close", "R3", lambda: receiver.incoming.open(records[0]))


class Login(Vector):
    def __init__(self, path: Path, data: dict[str, Any]):
        super().__init__(path, data)
        self.rule, self.outcome, inputs = data["outcome"]["rule"], data["outcome"], data["inputs"]
        self.key = private_key(self.raw["server_key_pkcs8"])
        same("server_key_spki", spki_of(self.key.public_key()), self.raw["server_key_spki"])
        same("the key file", spki_of(pem(data["server_key"]).public_key()), self.raw["server_key_spki"])
        self.client, self.server = self.make_client(inputs), self.make_server()

    def make_client(self, inputs: dict[str, Any]) -> SeededClient:
        spki = self.raw["server_key_spki"]
        pinned = pem("tests/keys/other2048.pem").public_key() if self.rule == "T1" else self.key.public_key()
        credential = Credential(inputs["credential_kind"], inputs["credential_user"], self.raw["credential_secret"])
        client = SeededClient(
            credential, [key_id(spki_of(pinned))], [spki] if inputs["known_keys"] else [],
            ClientHello.decode(self.frames[0][3:]).suites, RSA_X25519 if self.rule == "T2" else RSA_ALONE,
            inputs["server_name"], self.prologue, self.binding, self.draws("client"))
        same("known_keys", [id_.hex() for id_ in client.known], inputs["known_keys"])
        client.seed, client.private_key = self.raw["oaep_seed"], self.key
        if self.name in SEALED:
            client.plaintext = sealed_instead(self.name)
        return client

    def make_server(self) -> Server:
        filed = ServerHello.decode(self.frames[1][3:]) if len(self.frames) > 1 else None
        kinds = filed.credential_kinds if filed else [PASSWORD, TOKEN]
        server = VectorServer(self.key, verify, [self.suite], kinds, self.prologue, self.binding, self.draws("server"))
        server.filed, server.client = filed.key_share if filed else b"", self.draws("client")
        return server

    def arrives(self, number: int, ours: bytes) -> bytes:
        """The frame as it arrived; ours must be that, but for what was altered on the way."""
        altered, change = ALTERED.get(self.name, (0, None))
        same(f"frame {number}", change(ours) if change and altered == number else ours, self.frames[number - 1])
        return self.frames[number - 1]

    def check(self) -> None:
        hello = self.arrives(1, self.client.hello())
        state = (self.rule or "")[:1]
        answer = refused("the server", self.rule if state == "S" else None, lambda: self.server.on_client_hello(hello))
        if state == "S":
            return self.ends_after(1)
        challenge = self.arrives(2, answer)
        stops = self.rule if state in ("C", "T") else None
        answer = refused("the client", stops, lambda: self.client.on_server_hello(challenge))
        if stops:
            return self.ends_after(2)
        login = self.arrives(3, answer)
        answer, end = self.server.on_client_login(login)
        same("the server", end.rule if isinstance(end, Refused) else None, self.rule if state == "L" else None)
        same("outcome.server", isinstance(end, Session), self.outcome["server"] == "accepted")
        verdict = self.arrives(4, answer)
        rule = {"accepted": None, "refused": "V4", "verdict not authentic": "V2"}[self.outcome["client"]]
        if state == "V":
            same("outcome.rule", rule, self.rule)
        session = refused("the client", rule, lambda: self.client.on_verdict(verdict))
        self.check_secrets()
        if self.rule is None:
            assert isinstance(end, Session)
            self.check_session(session, end)
        else:
            same("records", None, self.records)
        return None

    def ends_after(self, count: int) -> None:
        same("the number of frames", count, len(self.frames))
        same("secrets and records", (None, None), (self.secrets, self.records))

    def check_secrets(self) -> None:
        """From the inputs and the frames as they arrived."""
        hello, challenge, login, verdict = self.frames
        exchange_secret, stage_0 = self.exchange_secret(), extract(bytes(32), bytes(32))
        ours = {"exchange_secret": exchange_secret, "stage_0": stage_0,
                "stage_1": extract(stage_0, self.raw["rsa_secret"])}
        schedule = Schedule(self.suite, self.prologue, self.binding, hello + challenge)
        schedule.mix(self.raw["rsa_secret"], exchange_secret)
        ours |= {"transcript_2": schedule.transcript()}
        cut = 5 + int.from_bytes(login[3:5], "big")
        schedule.add(login[:cut])
        ours |= {"transcript_r": schedule.transcript(), "credential_key": schedule.key(b"credential")}
        schedule.add(login[cut:])
        ours |= {"transcript_3": schedule.transcript(), "verdict_key": schedule.key(b"verdict")}
        schedule.add(verdict)
        self.same_secrets(ours, schedule)


class VectorTickets(Tickets):
    """Knows the ticket of the vector, and issues the one that is in the vector's verdict."""

    def __init__(self, ticket: bytes, known: Sealed, issues: Verdict):
        super().__init__(clock=lambda: known.shown)
        self.ticket, self.known, self.issues = ticket, known, issues

    def open(self, ticket: bytes) -> Sealed:
        same("the ticket", ticket, self.ticket)
        return self.known

    def expires(self, shown: int) -> int:
        return self.issues.ticket_expires

    def seal(self, of: Sealed) -> bytes:
        self.next_secret = of.secret
        return self.issues.ticket


class Resumption(Vector):
    def __init__(self, path: Path, data: dict[str, Any]):
        super().__init__(path, data)
        self.inputs, self.filed = data["inputs"], bytes.fromhex(data["verdict"])
        self.verdict = Verdict.decode_padded(self.filed.ljust(VERDICT_SIZE, b"\0"))

    def check(self) -> None:
        key, raw, verdict = pem("tests/keys/rsa2048.pem"), self.raw, self.verdict
        id_, secret, suites = key_id(spki_of(key.public_key())), raw["ticket_secret"], [self.suite]
        tickets = VectorTickets(raw["ticket"], Sealed(verdict.principal, 1, self.suite, id_, 0, 1, secret), verdict)
        client = Client(Credential(PASSWORD, "alice", b"x"), [id_], (), suites, RSA_ALONE, self.inputs["server_name"],
                        self.prologue, self.binding, self.draws("client"),
                        Ticket(raw["ticket"], secret, self.suite, id_, 1))
        server = VectorServer(key, lambda credential: None, suites, prologue=self.prologue, binding=self.binding,
                              draws=self.draws("server"), tickets=tickets,
                              account=lambda principal: Account(1, verdict.permissions))
        server.filed, server.client = ServerResumption.decode(self.frames[1][3:]).key_share, self.draws("client")
        hello = client.hello()
        same("frame 1", hello, self.frames[0])
        answer = server.on_client_hello(hello)
        same("why the ticket was not taken", server.not_taken, None)
        same("frame 2", answer, self.frames[1])
        same("the number of frames", len(self.frames), 2)
        session = client.on_server_resumption(answer)
        same("the verdict", session.verdict.encode().rstrip(b"\0"), self.filed.rstrip(b"\0"))
        assert session.ticket and server.session
        same("the next ticket's secret at the client", session.ticket.secret.hex(), self.secrets["next_ticket_secret"])
        same("that at the server", tickets.next_secret, session.ticket.secret)
        self.check_secrets(hello, answer)
        self.check_session(session, server.session)

    def check_secrets(self, hello: bytes, answer: bytes) -> None:
        secret, start = self.raw["ticket_secret"], seed(self.prologue, self.binding)
        stage_0 = extract(bytes(32), secret)
        schedule = Schedule(self.suite, self.prologue, self.binding, hello + answer[:-VERDICT_SIZE - TAG])
        schedule.mix(bytes(32), self.exchange_secret(), secret)
        ours = {"transcript_b": hashlib.sha256(start + hello[:-2 - BINDER]).digest(),
                "binder": binder(secret, start, hello), "exchange_secret": self.exchange_secret(),
                "stage_0": stage_0, "stage_1": extract(stage_0, bytes(32)),
                "transcript_3": schedule.transcript(), "verdict_key": schedule.key(b"verdict"),
                "next_ticket_secret": schedule.key(b"resumption")}
        same("the binder in the frame", hello[-BINDER:], ours["binder"])
        schedule.add(answer[-VERDICT_SIZE - TAG:])
        self.same_secrets(ours, schedule)


def vector(path: Path) -> Login | Resumption:
    data = json.loads(path.read_text())
    return Resumption(path, data) if "ticket" in data["inputs"] else Login(path, data)


def main() -> int:
    failed = 0
    for path in VECTORS:
        try:
            vector(path).check()
            print(f"ok    {path.stem}")
        except Exception as why:
            failed += 1
            print(f"FAIL  {path.stem}: {type(why).__name__}: {why}")
    print(f"{len(VECTORS) - failed} passed, {failed} failed")
    return 1 if failed or not VECTORS else 0


if __name__ == "__main__":
    sys.exit(main())
