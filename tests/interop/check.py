#!/usr/bin/env python3
"""Checks tests/vectors/*.json against countersign.py: every frame, secret, record and refusal is made anew.

Both ends are run with the draws of the vector, and each frame they make must be the vector's, byte for byte, RSA
ciphertexts included: OAEP is computed here from its seed, and the ciphertext decrypted by the library besides. Only an
ML-KEM ciphertext is the vector's own: the client must find the secret in it that belongs to what the server drew.
Extensions are the vector's own, too. Where a frame was altered on the way (ALTERED), the same alteration must give the
vector's frame; a frame that breaks a rule and is not among those is taken as it is, and must be refused by that rule. A
resumption is run with the ticket of the vector, and with a server that knows what the vector says of it.
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

from countersign import (ACCEPT, BINDER, BUSY, CLOSE, DATA, FORWARD_SECRET, KEY_UPDATE, NOT_NOW, OAEP, PARTS, PASSWORD,
                         PROOF, RSA_ALONE, RSA_X25519, RSA_X25519MLKEM768, TAG, TOKEN, VERDICT_SIZE, X25519, Account,
                         Client, ClientHello, Credential, Draws, MlKem768, Part, Refused, Schedule, Sealed, Server,
                         ServerHello, ServerResumption, Session, Ticket, Tickets, Verdict, binder, client_exchange,
                         expand, extract, frame, key_id, place, seed, spki_of, transcript_h)

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


def zero_share(data: bytes) -> bytes:
    """The X25519 part of the server's share, which is its end, is all zeros."""
    hello = ServerHello.decode(data[3:])
    hello.key_share = hello.key_share[:-32] + bytes(32)
    return frame(data[0], hello.encode())


# The vector's name: which frame, and how.
ALTERED: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "c4-suite-not-offered": (2, flip(6, 3)),
    "c8-key-id-mismatch": (2, flip(3 + 2 + 2 + 32)),
    "c9-all-zero-output": (2, zero_share),
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

# The frame that breaks a rule of this letter, but for those that are broken by what is in it.
BREAKS = {"S": 1, "C": 2, "A": 2, "L": 3, "V": 4}
HONEST = ("L8", "L9", "L10", "V4", "V6")

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
        return Verdict(ACCEPT, "alice", ["read", "write"])
    if (credential.kind, credential.secret) == (TOKEN, b"an-opaque-token"):
        return Verdict(ACCEPT, "robot")
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

    def draws(self, end: str, extensions: Any = ()) -> Draws:
        """Of the `client` or the `server`."""
        raw, joined = self.raw, self.raw.get(f"{end}_x25519mlkem768", b"")
        parts = {RSA_ALONE: [], RSA_X25519: [raw[f"{end}_x25519"]], RSA_X25519MLKEM768: [joined[:-32], joined[-32:]]}
        secret = raw.get("rsa_secret", b"")  # in the ClientHello or in the ClientLogin, never in both
        return Draws(raw[f"{end}_nonce"], parts, secret, secret, raw.get("fallback", b""), list(extensions))

    def exchange_secret(self) -> bytes:
        exchange = self.suite >> 8
        drawn = zip(PARTS[exchange], self.draws("client").exchanges[exchange], self.draws("server").exchanges[exchange])
        return b"".join(SECRET[part](client, server) for part, client, server in drawn) or bytes(32)

    def same_secrets(self, ours: dict[str, bytes], schedule: Schedule) -> None:
        """These, and those that the schedule has at the end of the handshake."""
        session = Session(schedule, Verdict(ACCEPT), is_client=True)
        client, server = session.outgoing, session.incoming
        ours |= {"master": schedule.master, "transcript_4": schedule.transcript(), "client_traffic": client.secret,
                 "server_traffic": server.secret, "exporter": session.exporter, "session_id": session.session_id}
        derived = {"client_key": client.key, "client_iv": client.iv, "server_key": server.key, "server_iv": server.iv,
                   "client_traffic_updated": expand(client.secret, b"update", b"", 32)}
        ours |= derived  # a resumption's vector has none of them
        same("secrets that we do not know", sorted(self.secrets.keys() - ours.keys()), [])
        same("at least the master among them", "master" in self.secrets, True)
        for name, value in self.secrets.items():
            same(name, ours[name].hex(), value)

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
        self.rule, self.outcome, self.inputs = data["outcome"]["rule"], data["outcome"], data["inputs"]
        self.key = private_key(self.raw["server_key_pkcs8"])
        same("server_key_spki", spki_of(self.key.public_key()), self.raw["server_key_spki"])
        same("the key file", spki_of(pem(data["server_key"]).public_key()), self.raw["server_key_spki"])

    def make_client(self) -> SeededClient:
        inputs, spki = self.inputs, self.raw["server_key_spki"]
        filed = ClientHello.decode(self.frames[0][3:])
        pinned = pem("tests/keys/other2048.pem").public_key() if self.rule == "T1" else self.key.public_key()
        credential = Credential(inputs["credential_kind"], inputs["credential_user"], self.raw["credential_secret"])
        client = SeededClient(
            credential, [key_id(spki_of(pinned))], [spki] if inputs["known_keys"] else [], filed.suites,
            RSA_X25519 if self.rule == "T2" else RSA_ALONE, inputs["server_name"], self.prologue, self.binding,
            self.draws("client", filed.extensions))
        same("known_keys", [id_.hex() for id_ in client.known], inputs["known_keys"])
        client.seed, client.private_key = self.raw.get("oaep_seed", b""), self.key
        if self.name in SEALED:
            client.plaintext = sealed_instead(self.name)
        return client

    def make_server(self) -> Server:
        filed = None
        if len(self.frames) > 1 and self.frames[1][0] != BUSY:
            filed = refused("a ServerHello", None, lambda: ServerHello.decode(self.frames[1][3:]))
        check = (lambda _: Verdict(NOT_NOW)) if self.rule == "V6" else verify
        suites = FORWARD_SECRET if (self.rule or "").startswith("S") and self.rule not in ("S8", "S9") else [self.suite]
        server = VectorServer(self.key, check, suites, filed.credential_kinds if filed else [PASSWORD, TOKEN],
                              self.prologue, self.binding, self.draws("server", filed.extensions if filed else ()),
                              names=() if self.rule == "S12" else None, proves=bool(filed and filed.proof))
        server.filed, server.client = filed.key_share if filed else b"", self.draws("client")
        return server

    def arrives(self, number: int, ours: Callable[[], bytes]) -> bytes:
        """The frame as it arrived; ours must be that, but for what was altered on the way."""
        altered, change = ALTERED.get(self.name, (0, None))
        breaks = BREAKS.get((self.rule or "-")[0]) == number and self.rule not in HONEST
        if not breaks or altered:
            same(f"frame {number}", change(ours()) if change and altered == number else ours(), self.frames[number - 1])
        return self.frames[number - 1]

    def check(self) -> None:
        state = (self.rule or "")[:1]
        if state == "S":
            hello = self.arrives(1, lambda: self.make_client().hello())
            refused("the server", self.rule, lambda: self.make_server().on_client_hello(hello))
            return self.ends_after(1)
        client = self.make_client()
        hello = self.arrives(1, client.hello)
        if state == "C":
            challenge = self.arrives(2, lambda: self.make_server().on_client_hello(hello))
            refused("the client", self.rule, lambda: take(client, challenge))
            return self.ends_after(2)
        server = self.make_server()
        challenge = self.arrives(2, lambda: server.on_client_hello(hello))
        stops = self.rule if state == "T" else None
        login = refused("the client", stops, lambda: client.on_server_hello(challenge))
        if stops:
            return self.ends_after(2)
        login = self.arrives(3, lambda: login)
        answer, end = server.on_client_login(login)
        reason = "not now" if self.rule == "V6" else self.rule if state == "L" else None
        same("the server", end.rule if isinstance(end, Refused) else None, reason)
        same("outcome.server", isinstance(end, Session), self.outcome["server"] == "accepted")
        verdict = self.arrives(4, lambda: answer)
        rule = {"accepted": None, "refused": "V4", "verdict not authentic": "V2"}.get(self.outcome["client"], self.rule)
        if state == "V":
            same("outcome.rule", rule, self.rule)
        session = refused("the client", rule, lambda: client.on_verdict(verdict))
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
        if ClientHello.decode(hello[3:]).rsa_ciphertext:
            ours |= {"transcript_h": transcript_h(seed(self.prologue, self.binding), hello)}
        proof = ServerHello.decode(challenge[3:]).proof
        end = len(challenge) - 2 - len(proof)
        schedule = Schedule(self.suite, self.prologue, self.binding, hello + challenge[:end])
        schedule.mix(self.raw["rsa_secret"], exchange_secret)
        if proof:
            ours |= {"transcript_p": schedule.transcript(), "proof": schedule.key(b"proof", PROOF)}
        schedule.add(challenge[end:])
        ours |= {"transcript_2": schedule.transcript()}
        cut = 5 + int.from_bytes(login[3:5], "big")
        schedule.add(login[:cut])
        ours |= {"transcript_r": schedule.transcript(), "credential_key": schedule.key(b"credential")}
        schedule.add(login[cut:])
        ours |= {"transcript_3": schedule.transcript(), "verdict_key": schedule.key(b"verdict")}
        schedule.add(verdict)
        self.same_secrets(ours, schedule)


def take(client: Client, answer: bytes) -> object:
    """A client's step with what answers its hello."""
    if answer[0] != BUSY:
        return client.on_server_hello(answer)
    raise client.on_busy(answer)


class VectorTickets(Tickets):
    """Knows the ticket of the vector, and issues the one that is in the vector's verdict."""

    def __init__(self, ticket: bytes, known: Sealed, issues: Verdict):
        super().__init__()
        self.ticket, self.known, self.issues = ticket, known, issues

    def open(self, ticket: bytes) -> Sealed:
        same("the ticket", ticket, self.ticket)
        return self.known

    def check_times(self, of: Sealed) -> None:
        pass

    def check_chain(self, ticket: bytes, of: Sealed) -> None:
        pass

    def renew(self, of: Sealed, secret: bytes) -> tuple[bytes, int]:
        self.next_secret = secret
        return self.issues.ticket, self.issues.ticket_lifetime


class Resumption(Vector):
    def __init__(self, path: Path, data: dict[str, Any]):
        super().__init__(path, data)
        self.inputs, self.filed = data["inputs"], bytes.fromhex(data["verdict"])
        self.verdict = Verdict.decode_padded(self.filed.ljust(VERDICT_SIZE, b"\0"))
        self.key = pem(data.get("server_key") or "tests/keys/rsa2048.pem")

    def check(self) -> None:
        raw, verdict, name = self.raw, self.verdict, self.inputs["server_name"]
        hello, answer = ClientHello.decode(self.frames[0][3:]), ServerResumption.decode(self.frames[1][3:])
        spki = spki_of(self.key.public_key())
        id_, secret, suites = key_id(spki), raw["ticket_secret"], [self.suite]
        known = Sealed(verdict.principal, 1, self.suite, id_, place(name, self.prologue), PASSWORD, 0, b"", b"", 0, 1,
                       secret)
        tickets = VectorTickets(raw["ticket"], known, verdict)
        client = SeededClient(
            Credential(PASSWORD, "alice", b"x"), [id_], [spki] if hello.known_keys else [], suites, RSA_ALONE, name,
            self.prologue, self.binding, self.draws("client", hello.extensions),
            Ticket(raw["ticket"], secret, self.suite, id_, name, (PASSWORD, "alice"), 1, 0, 0),
            bool(hello.rsa_ciphertext), clock=lambda: 0)
        client.seed, client.private_key = raw.get("oaep_seed", b""), self.key
        server = VectorServer(self.key, lambda credential: None, suites, prologue=self.prologue, binding=self.binding,
                              draws=self.draws("server", answer.extensions), tickets=tickets,
                              account=lambda principal: Account(1, verdict.permissions), names=None)
        server.filed, server.client = answer.key_share, self.draws("client")
        sent = client.hello()
        same("frame 1", sent, self.frames[0])
        resumption = server.on_client_hello(sent)
        same("why the ticket was not taken", server.not_taken, None)
        same("frame 2", resumption, self.frames[1])
        confirm, session = client.on_server_resumption(resumption)
        same("the number of frames", len(self.frames), 3)
        same("frame 3", confirm, self.frames[2])
        served = server.on_confirm(confirm)
        same("the verdict", session.verdict.encode().rstrip(b"\0"), self.filed.rstrip(b"\0"))
        assert session.ticket
        if "next_ticket_secret" in self.secrets:
            same("the next ticket's secret", session.ticket.secret.hex(), self.secrets["next_ticket_secret"])
        same("that at the server", tickets.next_secret, session.ticket.secret)
        self.check_secrets(sent, resumption)
        self.check_session(session, served)

    def check_secrets(self, hello: bytes, answer: bytes) -> None:
        secret, start = self.raw["ticket_secret"], seed(self.prologue, self.binding)
        stage_0, sealed = extract(bytes(32), secret), ClientHello.decode(hello[3:]).rsa_ciphertext
        rsa_secret = self.raw["rsa_secret"] if sealed else bytes(32)
        schedule = Schedule(self.suite, self.prologue, self.binding, hello + answer[:-VERDICT_SIZE - TAG])
        schedule.mix(rsa_secret, self.exchange_secret(), secret)
        ours = {"transcript_b": hashlib.sha256(start + hello[:-2 - BINDER]).digest(),
                "binder": binder(secret, start, hello), "exchange_secret": self.exchange_secret(),
                "stage_0": stage_0, "stage_1": extract(stage_0, rsa_secret),
                "transcript_3": schedule.transcript(), "verdict_key": schedule.key(b"verdict"),
                "next_ticket_secret": schedule.key(b"resumption")}
        if sealed:
            ours |= {"transcript_h": transcript_h(start, hello)}
        same("the binder in the frame", hello[-BINDER:], ours["binder"])
        schedule.add(answer[-VERDICT_SIZE - TAG:])
        ours |= {"confirm_key": schedule.key(b"confirm")}
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
