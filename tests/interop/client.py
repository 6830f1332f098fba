"""The client's end of a handshake."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from cryptography.hazmat.primitives.asymmetric import rsa

from client_keys import KeyLogin
from exchanges import Draws, client_exchange, client_share
from keys import key_id, server_key
from messages import (Busy, ClientHello, Credential, Factor, FactorRequest, ServerHello, ServerResumption, Verdict,
                      certificates_of)
from puzzles import puzzle_in, solution
from schedule import Schedule, Session, Ticket, binder, context, seed, transcript_h
from stretching import StretchedPassword, Stretching
from trust import NEEDS, Question, Trust, decide
from wire import *


class Client:
    """One handshake: hello() -> on_server_hello() -> on_verdict(), or, if `ticket` is still set after hello() and a
    ServerResumption comes, hello() -> on_server_resumption(). Each takes and gives whole frames.

    `known_keys` are keys trusted for this server; with one the server must prove itself, unless `without_proof`. A
    ticket is shown only where a credential would be sent, and once; otherwise it is as if none had been given. `seals`
    sends an rsa_ciphertext beside it. After on_server_hello(), `told` is the server's key, to keep if it is trusted.

    A password goes stretched where the server takes that, `realm` being the only one it is stretched for, if there is one; with
    `stretched_only` never as it is.

    Where a Busy comes, solve() gives the Solution to send, if there is a puzzle in it that is no harder than `puzzles`, and the answer comes
    after that.

    `trust` has further ways to know the server's key; `needs` is the level that each kind of credential needs. With
    `answers` the client can be asked for further factors: on_verdict() gives a FactorRequest then, and
    `factor(answers(request))` the frame to send, and on_verdict() comes again.
    """

    def __init__(self, credential: Credential | KeyLogin, pins: Iterable[bytes] = (), known_keys: Iterable[bytes] = (),
                 suites: Iterable[int] = FORWARD_SECRET, weakest_exchange: int = RSA_X25519, server_name: str = "",
                 prologue: bytes = b"", binding: tuple[str, bytes] = ("", b""), draws: Optional[Draws] = None,
                 ticket: Optional[Ticket] = None, seals: bool = False, without_proof: bool = False,
                 clock: Callable[[], float] = time.time, trust: Sequence[Trust] = (),
                 needs: Optional[dict[int, int]] = None, answers: Optional[Callable[[FactorRequest], bytes]] = None,
                 realm: Optional[str] = None, stretched_only: bool = False, puzzles: int = 17):
        self.credential, self.plaintext, self.kind = credential, credential.encode_padded(), credential.kind
        Credential.decode_padded(self.plaintext)  # its bounds hold for us, too
        self.whose = credential.kind, credential.user
        self.known = {key_id(spki): spki for spki in known_keys}
        self.pins = {*pins, *self.known}
        self.suites, self.weakest, self.server_name = list(suites), weakest_exchange, server_name
        self.prologue, self.binding, self.draws = prologue, binding, draws or Draws()
        self.seals, self.without_proof, self.clock = seals, without_proof, clock
        self.trust, self.needs, self.answers, self.asked = list(trust), needs or NEEDS, answers, 0
        self.realm, self.stretched_only = realm, stretched_only
        self.puzzles = puzzles  # the hardest that it solves, in bits, and 0 once it has solved one
        self.told, self.sealed_to, self.level = b"", b"", 0
        shown = ticket and (self.still_trusts(ticket) and ticket.suite >> 8 >= self.weakest
                            and ticket.suite in self.suites and ticket.server_name == server_name
                            and ticket.credential == self.whose and ticket.may_be_shown(self.now()))
        self.ticket = ticket if shown else None

    def now(self) -> int:
        return int(self.clock())

    def still_trusts(self, ticket: Ticket) -> bool:
        said = [way.still(ticket.key_id, ticket.suite, self.server_name, self.now()) for way in self.trust]
        return False not in said and (ticket.key_id in self.pins or True in said)

    def extensions(self) -> Extensions:
        wanted = {number for way in self.trust for number in way.asks_for} | ({FACTORS} if self.answers else set())
        return self.draws.extensions + [(number, b"") for number in sorted(wanted)]

    def hello(self) -> bytes:
        exchanges = sorted({suite >> 8 for suite in self.suites} - {RSA_ALONE})
        shares = [(exchange, client_share(exchange, self.draws.exchanges[exchange])) for exchange in exchanges]
        known, start = list(self.known), seed(self.prologue, self.binding)
        if self.ticket and self.ticket.key_id in self.known:  # a server opens the ciphertext under this key alone
            known = [self.ticket.key_id] + [id_ for id_ in known if id_ != self.ticket.key_id]
        hello = ClientHello([VERSION], self.suites, self.draws.nonce, shares, self.server_name, known,
                            context(self.prologue, self.binding), extensions=self.extensions())
        if self.ticket:
            self.ticket.shown = True
            hello.ticket, hello.binder = self.ticket.ticket, bytes(BINDER)
        if known and (self.seals or not self.ticket):
            key, self.sealed_to = server_key(self.known[known[0]]), known[0]
            hello.rsa_ciphertext = bytes((key.key_size + 7) // 8)
            unsealed = frame(CLIENT_HELLO, hello.encode())
            hello.rsa_ciphertext = self.wrap(key, self.draws.rsa_secret + transcript_h(start, unsealed))
        if self.ticket:
            hello.binder = binder(self.ticket.secret, start, frame(CLIENT_HELLO, hello.encode()))
        body = hello.encode()
        ClientHello.decode(body)
        self.sent = frame(CLIENT_HELLO, body)
        return self.sent

    def solve(self, received: bytes) -> Optional[bytes]:
        """The Solution, if a Busy has a puzzle that it solves."""
        try:
            puzzle = puzzle_in(Busy.decode(received[3:], "B1"))
            require(puzzle.bits <= self.puzzles, "B1", "too hard a puzzle, or the second")
        except Refused:
            return None
        self.puzzles = 0
        return solution(puzzle.solve(self.sent))

    def on_busy(self, received: bytes) -> Refused:
        """Anybody on the way can have said it."""
        rule = "A8" if self.ticket else "C14"
        busy = Busy.decode(received[3:], rule)
        return Refused(rule, "somebody says that the server is busy", busy.retry_after)

    def on_server_resumption(self, received: bytes) -> tuple[bytes, Session]:
        """The Confirm, and the session."""
        assert self.ticket
        answer = ServerResumption.decode(received[3:])
        require(answer.version == VERSION, "A3", "a version that was not offered")
        require(answer.suite == self.ticket.suite, "A3", "a suite that is not the ticket's")
        exchange_secret = self.exchange(answer.suite, answer.key_share, "A4")
        head = received[:-len(answer.sealed_verdict)]
        self.schedule = Schedule(answer.suite, self.prologue, self.binding, self.sent + head)  # transcript_3
        rsa_secret = self.draws.rsa_secret if self.sealed_to else bytes(32)
        self.schedule.mix(rsa_secret, exchange_secret, self.ticket.secret)
        verdict = Verdict.decode_padded(self.schedule.open(b"verdict", answer.sealed_verdict, "A5"), "A6")
        require(verdict.decision == ACCEPT, "A6", "no accept")
        session = self.accepted(verdict, answer.sealed_verdict, self.ticket.key_id, self.ticket)
        return frame(CONFIRM, self.schedule.seal(b"confirm", b"")), session

    def exchange(self, suite: int, share: bytes, rule: str) -> bytes:
        """exchange_secret."""
        return client_exchange(suite >> 8, self.draws.exchanges[suite >> 8], share, rule)

    def accepted(self, verdict: Verdict, sealed: bytes, id_: bytes, by: Optional[Ticket]) -> Session:
        """The schedule is at transcript_3; what it lacks of transcript_4 is `sealed`."""
        secret, ticket, now = self.schedule.key(b"resumption"), None, self.now()
        if verdict.ticket:
            ticket = Ticket(verdict.ticket, secret, self.schedule.suite, id_, self.server_name, self.whose,
                            verdict.ticket_lifetime, now, by.began if by else now)
        self.schedule.add(sealed)
        return Session(self.schedule, verdict, True, by is not None, ticket)

    def on_server_hello(self, received: bytes) -> bytes:
        hello = ServerHello.decode(received[3:])
        require(hello.version == VERSION, "C3", "a version that was not offered")
        require(hello.suite in self.suites, "C4", "a suite that was not offered")
        require(bool(hello.credential_kinds) and unique(hello.credential_kinds), "C5", "credential kinds")
        ours = context(self.prologue, self.binding)
        require(hello.context[:4] == ours[:4], "C11", "the server has another prologue")
        require(hello.context[4:] == ours[4:], "C11", "the server has another channel binding")
        require(bool(hello.spki) or hello.key_id in self.known, "C6", "no key, and it was not listed")
        spki = hello.spki or self.known[hello.key_id]
        key = server_key(spki)
        require(key_id(spki) == hello.key_id, "C8", "the key id is not that of the key")
        self.told = spki
        exchange_secret = self.exchange(hello.suite, hello.key_share, "C9")
        self.level = self.decide(hello, spki)
        require(hello.suite >> 8 >= self.weakest, "T2", "a weaker key exchange than the floor")
        self.stretch(hello)
        require(self.kind in hello.credential_kinds, "T3", "the server does not take such a credential")
        require(self.level >= self.needs[self.kind], "T5", "the key is not trusted enough for such a credential")
        require(bool(hello.proof) or not self.known or self.without_proof, "T4", "the server does not prove itself")
        self.key_id = hello.key_id

        end = len(received) - 2 - len(hello.proof)
        self.schedule = Schedule(hello.suite, self.prologue, self.binding, self.sent + received[:end])  # transcript_p
        if hello.proof:
            require(self.sealed_to == hello.key_id, "C12", "nothing was sealed to this key")
            self.schedule.mix(self.draws.rsa_secret, exchange_secret)
            require(self.is_proof(hello.proof), "C12", "the proof is wrong")
        self.schedule.add(received[end:])  # transcript_2
        wrapped = lp(b"")
        if not hello.proof:
            self.schedule.mix(self.draws.login_secret, exchange_secret)
            wrapped = lp(self.wrap(key, self.draws.login_secret + self.schedule.transcript()))
        # The header counts the sealed credential and goes into its key, so the length is computed before the sealing.
        head = u8(CLIENT_LOGIN) + u16(len(wrapped) + 2 + len(self.plaintext) + TAG) + wrapped
        self.schedule.add(head)  # transcript_r
        sealed = lp(self.schedule.seal(b"credential", self.proven()))
        self.schedule.add(sealed)  # transcript_3
        return head + sealed

    def stretch(self, hello: ServerHello) -> None:
        """What goes in the place of a password, where the server takes that."""
        if STRETCHED not in hello.credential_kinds:
            require(self.kind != PASSWORD or not self.stretched_only, "T7", "a password itself, which is not to go")
            return
        of = Stretching.decode(dict(hello.extensions).get(STRETCHING))
        if self.kind != PASSWORD:
            return
        assert isinstance(self.credential, Credential)
        of.require_bounds()
        require(self.realm in (None, of.realm), "T6", "another realm")
        require(self.level >= self.needs[STRETCHED], "T5", "the key is not trusted enough for a stretched password")
        user, password = self.credential.user, self.credential.secret
        goes = of.moving and not self.stretched_only and self.level >= self.needs[PASSWORD]
        shown = StretchedPassword(of.stretch(user, password), password if goes else b"")
        self.kind, self.plaintext = STRETCHED, Credential(STRETCHED, user, shown.encode()).encode_padded()

    def decide(self, hello: ServerHello, spki: bytes) -> int:
        """The level of trust in the key."""
        sent = dict(hello.extensions)
        question = Question(spki, hello.key_id, hello.suite, self.server_name, self.now(),
                            certificates_of(sent.get(CERTIFICATES, b"")), sent.get(MANIFEST))
        return decide(self.trust, question, hello.key_id in self.pins)

    def proven(self) -> bytes:
        """What is sealed. The schedule is at transcript_r."""
        if isinstance(self.credential, KeyLogin):
            return self.credential.proven(self.schedule.transcript())
        return self.plaintext

    def is_proof(self, proof: bytes) -> bool:
        """The schedule is at transcript_p."""
        return hmac.compare_digest(proof, self.schedule.key(b"proof"))

    def wrap(self, key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
        return key.encrypt(plaintext, OAEP)

    def on_verdict(self, received: bytes) -> Session | FactorRequest:
        verdict = Verdict.decode_padded(self.schedule.open(b"verdict", received[3:], "V2"))
        require(verdict.decision != REJECT, "V4", "the server rejected the credential")
        require(verdict.decision != NOT_NOW, "V6", "the server can't decide now")
        if verdict.decision == FURTHER:
            return self.on_request(verdict, received)
        return self.accepted(verdict, received, self.key_id, None)

    def on_request(self, verdict: Verdict, received: bytes) -> FactorRequest:
        require(self.answers is not None, "V7", "asked for a further factor, which we did not offer")
        self.asked += 1
        require(self.asked <= MAX_FACTORS, "V7", "asked for a fifth factor")
        requests = [data for number, data in verdict.extensions if number == FACTORS]
        require(len(requests) == 1, "V7", "no request")
        request = FactorRequest.decode(requests[0])
        # Whoever answers in the server's place at first use could ask for a password here.
        require(self.level >= self.needs[PASSWORD], "V8", "the key is not trusted enough for an answer")
        self.schedule.add(received)  # transcript_f
        return request

    def factor(self, answer: bytes) -> bytes:
        plaintext = Factor(answer).encode_padded()
        Factor.decode_padded(plaintext)  # its bounds hold for us, too
        data = frame(CLIENT_FACTOR, self.schedule.seal(b"factor", plaintext))
        self.schedule.add(data)  # transcript_3
        return data
