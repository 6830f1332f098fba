#!/usr/bin/env python3
"""Checks tests/vectors/*.json against countersign.py: every frame, secret, record and refusal is made anew.

Both ends are run with the draws of the vector, and each frame they make must be the vector's, byte for byte, RSA
ciphertexts included: OAEP is computed here from its seed, and the ciphertext decrypted by the library besides. Only an
ML-KEM ciphertext is the vector's own: the client must find the secret in it that belongs to what the server drew. So is
a ticket in a verdict, which is opaque. Where a frame was altered on the way, the vector has what was sent, too. A
resumption is run with a server that knows what the vector says of the ticket.
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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign import (ACCEPT, BINDER, BUSY, CLIENT_FACTOR, CLIENT_HELLO, CLIENT_LOGIN, CLOSE, CONFIRM, DATA,
                         KEY_UPDATE, NOT_NOW, PARTS, PASSWORD, PROOF, RESERVED, RSA_ALONE, RSA_X25519,
                         RSA_X25519MLKEM768, SERVER_RESUMPTION, TAG, TOKEN, VERDICT_SIZE, WEEK, X25519, Account,
                         Busy, ByFirstUse, ByManifest, Client, ClientHello, Credential, Draws, Extensions, FactorRequest,
                         Further, Identity, Judged, KeyLogin, Manifest, MlKem768, Part, Question, Refused, Schedule,
                         Sealed, ServerHello, ServerResumption, Session, StretchParameters, Stretching, Ticket, Tickets,
                         Untrusted, Verdict, binder, client_spki, counters_of, decide, expand, extract, key_id, place,
                         puzzle_in, seed, spki_of)
from report import Report
from vector_ends import ROOT, SeededClient, VectorServer, VectorTickets, same, verify

FROM_CLIENT = (CLIENT_HELLO, CLIENT_LOGIN, CLIENT_FACTOR, CONFIRM)
VECTORS = sorted((ROOT / "tests/vectors").glob("*.json"))
PUZZLES = sorted((ROOT / "tests/vectors/puzzles").glob("*.json"))
EXPORTS = sorted((ROOT / "tests/vectors/exports").glob("*.json"))
MANIFESTS = sorted((ROOT / "tests/vectors/manifests").glob("*.json"))


def private_key(der: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_der_private_key(der, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def pem(path: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key((ROOT / path).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


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


def reserved(nonce: bytes) -> Extensions:
    """What goes with a nonce, so that skipping is exercised."""
    return [(RESERVED[nonce[-1] >> 4], b"")] if nonce[-1] % 8 == 0 else []


class Vector:
    def __init__(self, path: Path, data: dict[str, Any]):
        self.name, self.inputs, self.outcome = data["name"], data["inputs"], data["outcome"]
        same("the name", self.name, path.stem)
        self.rule, self.suite = self.outcome["rule"], int(data["suite"], 16)
        self.secrets, self.server_secrets, self.records = data["secrets"], data["server_secrets"], data["records"]
        self.frames = [bytes.fromhex(text) for text in data["frames"]]
        self.sent = list(self.frames)
        if data["altered"]:
            self.sent[data["altered"]["frame"] - 1] = bytes.fromhex(data["altered"]["sent"])
        texts = ("server_name", "binding_type", "server_binding_type", "credential_user")
        self.raw = {name: bytes.fromhex(text) for name, text in self.inputs.items()
                    if isinstance(text, str) and name not in texts}
        self.verdict = None if data["verdict"] is None else bytes.fromhex(data["verdict"])
        self.requests = [bytes.fromhex(text) for text in data.get("requests", [])]
        self.key = private_key(self.raw["server_key_pkcs8"])
        self.spki = self.raw["server_key_spki"]
        same("server_key_spki", spki_of(self.key.public_key()), self.spki)
        same("the key file", spki_of(pem(data["server_key"]).public_key()), self.spki)
        self.prologue, self.binding = self.raw["prologue"], (self.inputs["binding_type"], self.raw["binding_bytes"])
        self.resumes = len(self.sent) > 1 and self.sent[1][0] == SERVER_RESUMPTION
        self.challenge = None
        if len(self.sent) > 1 and self.sent[1][0] not in (SERVER_RESUMPTION, BUSY):
            self.challenge = ServerHello.decode(self.sent[1][3:])

    def draws(self, end: str) -> Draws:
        """Of the `client` or the `server`."""
        raw, parts = self.raw, dict[int, list[bytes]]({RSA_ALONE: []})
        if f"{end}_x25519" in raw:
            parts[RSA_X25519] = [raw[f"{end}_x25519"]]
        if joined := raw.get(f"{end}_x25519mlkem768"):
            parts[RSA_X25519MLKEM768] = [joined[:-32], joined[-32:]]
        nonce = raw.get(f"{end}_nonce", bytes(31) + b"\1")
        return Draws(nonce, parts, raw.get("hello_rsa_secret", b""), raw.get("rsa_secret", b""),
                     raw.get("fallback", b""), reserved(nonce))

    def exchange_secret(self) -> bytes:
        exchange = self.suite >> 8
        drawn = zip(PARTS[exchange], self.draws("client").exchanges[exchange], self.draws("server").exchanges[exchange])
        return b"".join(SECRET[part](client, server) for part, client, server in drawn) or bytes(32)

    def make_client(self) -> SeededClient:
        inputs, raw = self.inputs, self.raw
        pinned = spki_of(pem("tests/keys/other2048.pem").public_key()) if self.rule == "T1" else self.spki
        floor = (self.suite >> 8) + 1 if self.rule == "T2" else RSA_ALONE
        known = [bytes.fromhex(spki) for spki in inputs["known_keys"]]
        credential: Credential | KeyLogin = Credential(
            inputs.get("credential_kind", PASSWORD), inputs.get("credential_user", "alice"),
            raw.get("credential_secret", b"x"))
        if "credential_password" in raw:
            credential = Credential(PASSWORD, credential.user, raw["credential_password"])
        if "client_key_pkcs8" in raw:
            key = serialization.load_der_private_key(raw["client_key_pkcs8"], None)
            credential = KeyLogin(inputs["credential_user"], key)  # type: ignore[arg-type]
            same("client_key_spki", client_spki(credential.key), raw["client_key_spki"])
        pins = [] if inputs.get("first_use") else [key_id(pinned)]
        answers = (lambda _: b"") if "factor_answers" in inputs else None
        ticket: Optional[Ticket] = None
        if "ticket" in raw:
            # As the client would have it: it may be lying.
            state = inputs.get("ticket_state", {"suite": f"{self.suite:04x}", "key_id": key_id(self.spki).hex()})
            from_key = bytes.fromhex(state["key_id"])
            ticket = Ticket(raw["ticket"], raw["ticket_secret"], int(state["suite"], 16), from_key,
                            inputs["server_name"], (credential.kind, credential.user), 1, 0, 0)
        # Whoever goes on without a proof was told to.
        without_proof = bool(self.challenge and not self.challenge.proof and self.rule is None)
        client = SeededClient(
            credential, [*pins, *([ticket.key_id] if ticket else [])], known,
            [int(suite, 16) for suite in inputs["client_suites"]], floor,
            inputs["server_name"], self.prologue, self.binding, self.draws("client"), ticket,
            "hello_rsa_secret" in raw, without_proof, lambda: 0, [] if pins else [ByFirstUse()], None, answers)
        same("a ticket is shown", client.ticket is not None, ticket is not None)
        client.seeds = [raw[name] for name in ("hello_oaep_seed", "oaep_seed") if name in raw]
        client.stretched_only = self.rule == "T7"
        client.private_key, client.careless = self.key, self.name == "l6-in-hello"
        if self.name in SEALED:
            client.plaintext = sealed_instead(self.name)
        client.signature = raw.get("client_signature", b"")
        if self.rule in ("L8", "L9", "L11") and "client_key_pkcs8" in raw:
            client.kind, client.plaintext = inputs["server_kinds"][0], bytes(self.sealed_size())
            client.sealed = self.sent[2][-self.sealed_size() - TAG:]
        if self.rule == "L8" and "credential_password" in raw:
            client.sealed = self.sent[2][-self.sealed_size() - TAG:]
        if self.rule == "N2":
            client.sealed_factor = self.sent[-2][3:]
        return client

    def sealed_size(self) -> int:
        """How many bytes the ClientLogin seals."""
        at = 5 + int.from_bytes(self.sent[2][3:5], "big")
        return int.from_bytes(self.sent[2][at:at + 2], "big") - TAG

    def judge(self, credential: Credential) -> Judged:
        """What the server makes of a credential, and then of each factor."""
        wanted = [(FactorRequest(factor["form"], factor["prompt"]), bytes.fromhex(factor["answer"]))
                  for factor in self.inputs.get("factors", [])]
        if self.rule == "V6" and not wanted:
            return Verdict(NOT_NOW)
        of = self.stretching()
        stored = [bytes.fromhex(text) for text in self.inputs["stretching"]["stored"]] if of else []
        if of and self.rule is None:
            same("what is stored", of.stored("alice", self.raw["credential_password"]), stored)
        granted = verify(credential, of, stored)

        def step(number: int) -> Judged:
            if number == len(wanted):
                return Verdict(NOT_NOW) if self.rule == "V6" else granted
            request, right = wanted[number]
            return Further(request, lambda answer: step(number + 1) if answer == right else None)

        return granted and step(0)

    def stretching(self) -> Optional[Stretching]:
        said = self.inputs.get("stretching")
        return said and Stretching(said["realm"], tuple(StretchParameters(**one) for one in said["parameters"]),
                                   said["moving"])

    def make_server(self) -> VectorServer:
        inputs, raw = self.inputs, self.raw
        prologue = raw.get("server_prologue", self.prologue)
        binding = self.binding
        if "server_binding_type" in inputs:
            binding = inputs["server_binding_type"], raw["server_binding_bytes"]
        tickets: Optional[Tickets] = None
        account: Optional[Account] = None
        state = inputs.get("ticket_state")
        if state:
            known = Sealed(state["principal"], state["epoch"], int(state["suite"], 16), bytes.fromhex(state["key_id"]),
                           place(state["server_name"], bytes.fromhex(state["prologue"])), state["kind"],
                           state["authenticated"], b"", b"", state["made"], state["expires"],
                           bytes.fromhex(state["secret"]))
            tickets = VectorTickets(raw["ticket"], known, state["now"], state["was_used"])
            account = Account(state["epoch_now"], [])
        elif self.outcome.get("not_taken"):
            tickets = Tickets()
        elif self.resumes:
            assert self.verdict is not None
            said = Verdict.decode_padded(self.verdict.ljust(VERDICT_SIZE, b"\0"))
            known = Sealed(said.principal, 1, self.suite, key_id(self.spki), place(inputs["server_name"], prologue),
                           PASSWORD, 0, b"", b"", 0, 1, raw["ticket_secret"])
            tickets, account = VectorTickets(raw["ticket"], known), Account(1, said.permissions)
        busy = Busy.decode(self.sent[1][3:], "F").retry_after if self.sent[-1][0] == BUSY else None
        proves = self.resumes or bool(self.challenge and self.challenge.proof)
        server = VectorServer(
            self.key, self.judge, [int(suite, 16) for suite in inputs["server_suites"]], inputs["server_kinds"],
            prologue, binding, self.draws("server"), tickets, lambda principal: account,
            ["db.example", "ws.example"], busy, proves, stretching=self.stretching())
        server.filed, server.client = self.share(), self.draws("client")
        server.said, server.requests, server.breaks = self.verdict, list(self.requests), self.rule
        return server

    def share(self) -> bytes:
        if self.resumes:
            return ServerResumption.decode(self.sent[1][3:]).key_share
        return self.challenge.key_share if self.challenge else b""

    def arrives(self, number: int, ours: bytes) -> bytes:
        """The frame as it arrived, if ours is what was sent."""
        same(f"frame {number}", ours, self.sent[number - 1])
        return self.frames[number - 1]

    def check(self) -> None:
        self.client, self.server = self.make_client(), self.make_server()
        client, server = self.run()
        self.check_secrets()
        if client and client.ticket:
            self.check_ticket(client.ticket, client.verdict.ticket_lifetime)
        if self.records is None:
            same("a session at both ends", (client is not None and server is not None),
                 (self.outcome["client"], self.outcome["server"]) == ("accepted", "accepted"))
            return
        assert client and server
        self.check_session(client, server)

    def check_ticket(self, ticket: Ticket, lifetime: int) -> None:
        """For how long the client shows what it was given."""
        last = min(lifetime - 1, WEEK)
        same("when it is shown", [ticket.may_be_shown(now) for now in (0, last, last + 1)], [True, True, False])

    def run(self) -> tuple[Optional[Session], Optional[Session]]:
        """What came of it at the client and at the server; whoever refuses does so by the rule of the vector."""
        client, server, state = self.client, self.server, (self.rule or "-")[0]
        hello = self.arrives(1, client.hello())
        if state == "S":
            refused("the server", self.rule, lambda: server.on_client_hello(hello))
            return self.ends_after(1)
        answer = self.arrives(2, server.on_client_hello(hello))
        same("a ServerResumption", server.resumes is not None, self.resumes)
        same("why the ticket was not taken", server.not_taken and server.not_taken.rule, self.outcome.get("not_taken"))
        if state in "CTA":
            refused("the client", self.rule, lambda: self.take(answer))
            return self.ends_after(2)
        sent = self.take(answer)
        if isinstance(sent, tuple):
            confirm = self.arrives(3, sent[0])
            rule = self.rule if state == "F" else None
            self.ends_after(3)
            return sent[1], refused("the server", rule, lambda: server.on_confirm(confirm))
        answer, end = server.on_client_login(self.arrives(3, sent))
        number, answers = 4, [bytes.fromhex(text) for text in self.inputs.get("factor_answers", [])]
        while isinstance(end, Further):
            verdict = self.arrives(number, answer)
            if self.rule == "V8":
                refused("the client", "V8", lambda: client.on_verdict(verdict))
                return self.ends_after(number)
            same("the request", client.on_verdict(verdict), end.request)
            answer, end = server.on_client_factor(self.arrives(number + 1, client.factor(answers.pop(0))))
            number += 2
        said = "not now" if self.rule == "V6" else self.rule if state in "LN" else None
        same("the server", end.rule if isinstance(end, Refused) else None, said)
        verdict = self.arrives(number, answer)
        rule = {"accepted": None, "refused": "V4", "verdict-not-authentic": "V2"}.get(self.outcome["client"], self.rule)
        self.ends_after(number)
        session = refused("the client", rule, lambda: client.on_verdict(verdict))
        return session, end if isinstance(end, Session) else None

    def take(self, answer: bytes) -> Any:
        """The client's step with what answers its hello."""
        if answer[0] == BUSY:
            raise self.client.on_busy(answer)
        if answer[0] == SERVER_RESUMPTION:
            return self.client.on_server_resumption(answer)
        return self.client.on_server_hello(answer)

    def ends_after(self, count: int) -> tuple[None, None]:
        same("the number of frames", count, len(self.frames))
        return None, None

    # ---- Secrets

    def check_secrets(self) -> None:
        """As each end has them, from the inputs and the frames as it saw them."""
        if self.secrets is None:
            same("server_secrets", self.server_secrets is None or self.rule is not None, True)
        for about, filed, is_client in (("client", self.secrets, True),
                                        ("server", self.server_secrets or self.secrets, False)):
            if filed is None or (not is_client and self.server_secrets is None and self.rule is not None):
                continue
            ours = self.secrets_of(is_client)
            same(f"secrets of the {about} that we do not know", sorted(filed.keys() - ours.keys()), [])
            for name, value in filed.items():
                same(f"{name} of the {about}", ours[name].hex(), value)
        if self.rule is None:
            same("the session's among them", {"master", "session_id"} <= self.secrets.keys(), True)

    def secrets_of(self, is_client: bool) -> dict[str, bytes]:
        def seen(sent: bytes, arrived: bytes) -> bytes:
            return sent if is_client == (sent[0] in FROM_CLIENT) else arrived

        frames = [seen(sent, arrived) for sent, arrived in zip(self.sent, self.frames)]
        raw, prologue, binding = self.raw, self.prologue, self.binding
        if not is_client:
            prologue, binding = self.server.prologue, self.server.binding
        hello, start = frames[0], seed(prologue, binding)
        heard = ClientHello.decode(self.sent[0][3:])
        ours: dict[str, bytes] = {}
        if heard.rsa_ciphertext:
            cut = len(self.sent[0]) - 4 - len(heard.rsa_ciphertext) - len(heard.binder)
            ours["transcript_h"] = hashlib.sha256(start + hello[:cut]).digest()
        if heard.ticket:
            ours["transcript_b"] = hashlib.sha256(start + hello[:-2 - BINDER]).digest()
            ours["binder"] = binder(raw["ticket_secret"], start, hello)
        if len(frames) < 2 or frames[1][0] == BUSY:
            return ours
        answer, ticket_secret = frames[1], raw["ticket_secret"] if self.resumes else bytes(32)
        proof = b"" if self.resumes else ServerHello.decode(answer[3:]).proof
        if self.resumes:
            rsa_secret = raw["hello_rsa_secret"] if heard.rsa_ciphertext else bytes(32)
        elif is_client:
            rsa_secret = raw["hello_rsa_secret"] if proof else raw.get("rsa_secret", b"")
        else:
            rsa_secret = self.server.opened or raw["fallback"]
        end = len(answer) - (VERDICT_SIZE + TAG if self.resumes else 2 + len(proof))
        schedule = Schedule(self.suite, prologue, binding, hello + answer[:end])
        stage_0, exchange_secret = extract(bytes(32), ticket_secret), self.exchange_secret()
        schedule.mix(rsa_secret, exchange_secret, ticket_secret)
        ours |= {"exchange_secret": exchange_secret, "stage_0": stage_0, "stage_1": extract(stage_0, rsa_secret),
                 "master": schedule.master}
        if proof:
            ours |= {"transcript_p": schedule.transcript(), "proof": schedule.key(b"proof", PROOF)}
        if not self.resumes:
            schedule.add(answer[end:])
            ours["transcript_2"] = schedule.transcript()
            if len(frames) < 3:
                return ours
            login, cut = frames[2], 5 + int.from_bytes(frames[2][3:5], "big")
            schedule.add(login[:cut])
            ours |= {"transcript_r": schedule.transcript(), "credential_key": schedule.key(b"credential")}
            schedule.add(login[cut:])
        ours |= {"transcript_3": schedule.transcript(), "verdict_key": schedule.key(b"verdict"),
                 "next_ticket_secret": schedule.key(b"resumption")}
        rest = [answer[end:]] if self.resumes else frames[3:]
        for number in range(1, len(self.requests) + 1):
            schedule.add(rest.pop(0))
            ours |= {f"transcript_f_{number}": schedule.transcript(), f"factor_key_{number}": schedule.key(b"factor")}
            if not rest:
                return ours
            schedule.add(rest.pop(0))
            ours |= {f"transcript_3_{number}": schedule.transcript(), f"verdict_key_{number}": schedule.key(b"verdict"),
                     "next_ticket_secret": schedule.key(b"resumption")}
        schedule.add(rest[0])
        session = Session(schedule, Verdict(ACCEPT), is_client=True)
        client, served = session.outgoing, session.incoming
        return ours | {
            "transcript_4": schedule.transcript(), "client_traffic": client.secret, "server_traffic": served.secret,
            "exporter": session.exporter, "session_id": session.session_id, "client_key": client.key,
            "client_iv": client.iv, "server_key": served.key, "server_iv": served.iv,
            "client_traffic_updated": expand(client.secret, b"update", b"", 32),
            "confirm_key": schedule.key(b"confirm")}

    def check_session(self, client: Session, server: Session) -> None:
        for session in (client, server):
            same("session_id", session.session_id.hex(), self.secrets["session_id"])
            exported = session.export(self.records["export_label"], bytes.fromhex(self.records["export_context"]), 48)
            same("exported", exported.hex(), self.records["exported"])
        same("the verdict", client.verdict, server.verdict)
        if client.ticket:
            same("the next ticket's secret", client.ticket.secret.hex(), self.secrets["next_ticket_secret"])
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


def vector(path: Path) -> Vector:
    return Vector(path, json.loads(path.read_text()))


def manifest(path: Path) -> None:
    """What a client that has the identity key makes of a manifest."""
    data = json.loads(path.read_text())
    raw = {name: bytes.fromhex(data[name] or "")
           for name in ("identity_secret", "identity", "taken", "manifest", "key_id")}
    same("the name", data["name"], path.stem)
    secret = Ed25519PrivateKey.from_private_bytes(raw["identity_secret"])
    same("the identity", secret.public_key().public_bytes_raw(), raw["identity"])
    if data["rule"] is None:
        same("the manifest, signed here", Manifest.decode(raw["manifest"]).sign(secret), raw["manifest"])
    end = Identity(raw["identity"], raw["taken"] or None)
    question = Question(b"", raw["key_id"], int(data["suite"], 16), data["server_name"], data["now"], [], raw["manifest"])
    # By M7 and M8 nothing else speaks for the key, where the manifest breaks another rule.
    rule, found = data.get("broken", data["rule"]), list[str]()
    try:
        decide([ByManifest(end)], question, data.get("pinned", False))
    except Untrusted as why:
        found = why.reasons
    same("the client", found, [rule] if rule else [])
    if rule in ("M1", "M2", "M3", "M4", "M5"):
        same("the manifest taken", end.taken or b"", raw["taken"])
    else:
        same("the manifest taken", end.taken, raw["manifest"])


def puzzle(path: Path) -> None:
    """What a client makes of a puzzle, and what a server makes of its solution."""
    data = json.loads(path.read_text())
    raw = {name: bytes.fromhex(data[name] or "")
           for name in ("client_hello", "busy", "start", "solution")}
    same("the name", data["name"], path.stem)
    client = Client(Credential(PASSWORD, "alice", b"x"), [bytes(32)])
    client.sent = raw["client_hello"]
    said = client.solve(raw["busy"])
    if data["rule"] == "B1":
        same("the solution", said, None)
        return
    asked = puzzle_in(Busy.decode(raw["busy"][3:], "B1"))
    same("start", asked.start(client.sent), raw["start"])
    refused("the server", data["rule"], lambda: asked.check(client.sent, counters_of(raw["solution"])))
    if data["rule"] is None:
        same("the solution", said, raw["solution"])


def exported(path: Path) -> None:
    """A key that an application on top asks for, from the exporter of the login's vector."""
    data = json.loads(path.read_text())
    login = json.loads((ROOT / f"tests/vectors/{data['login']}.json").read_text())
    same("exporter", data["exporter"], login["secrets"]["exporter"])
    session = Session.__new__(Session)
    session.exporter = bytes.fromhex(data["exporter"])
    ours = session.export(data["label"], bytes.fromhex(data["context"]), data["length"])
    same("exported", ours.hex(), data["exported"])


def cases(report: Report) -> None:
    for what, found in (("", VECTORS), (" of manifests", MANIFESTS), (" of puzzles", PUZZLES),
                        (" of exported keys", EXPORTS)):
        report.case(f"there are vectors{what}", lambda: same("some", bool(found), True))
    for path in VECTORS:
        report.case(f"vector {path.stem}", lambda: vector(path).check())
    for path in MANIFESTS:
        report.case(f"vector of a manifest {path.stem}", lambda: manifest(path))
    for path in PUZZLES:
        report.case(f"vector of a puzzle {path.stem}", lambda: puzzle(path))
    for path in EXPORTS:
        report.case(f"vector of an exported key {path.stem}", lambda: exported(path))


def main() -> int:
    report = Report()
    cases(report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
