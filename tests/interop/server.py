"""The server's end of a handshake."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from cryptography.hazmat.primitives.asymmetric import rsa

from client_keys import require_signature, signed
from exchanges import Draws, fresh, server_exchange
from keys import key_id, server_key, spki_of
from messages import (Busy, ClientHello, Credential, Factor, FactorRequest, KeyProof, ServerHello, ServerResumption,
                      Verdict, certificate_list)
from puzzles import Puzzle, counters_of
from schedule import Schedule, Session, binder, context, seed, transcript_h
from stretching import VALUE, StretchedPassword, Stretching
from tickets import Account, Sealed, Tickets, place
from wire import *


@dataclass
class Further:
    """What is asked for after something that was good, and what is made of the answer."""

    request: FactorRequest
    check: Callable[[bytes], Judged]


Judged = Optional[Verdict | Further]
Verify = Callable[[Credential], Judged]
FindAccount = Callable[[str], Optional[Account]]
Outcome = Session | Further | Refused


class Server:
    """One handshake: on_client_hello() -> on_client_login(), or refuse() for a login that never came whole. While that
    gives a Further, on_client_factor() or refuse() comes next.

    `verify` gives the accepting verdict for a credential, or None, or what is asked for besides, or whatever the
    credential a Verdict(NOT_NOW); it must cost the same whomever a credential names. The signature of a key's is
    checked before. `names` are those that the server goes by, None: any. `busy` is after how many seconds to try
    again; `proves` is whether it opens what is in a ClientHello. `certificates`, in DER, and `manifest` are for clients
    that ask for them.

    With `puzzle` it asks every client for work: on_client_hello() gives a Busy then, `unsolved` is set, and on_solution() comes next.

    on_client_hello() may end the handshake with what it gives: `ended` says why then. With `tickets`, and `account`
    for what is known of a principal now, it may give a ServerResumption: on_confirm() comes next if `resumes`.
    `not_taken` says why a ticket was not taken, `reason` why a credential was not; both are for the log alone.
    """

    def __init__(self, key: rsa.RSAPrivateKey, verify: Verify, suites: Iterable[int] = FORWARD_SECRET,
                 kinds: Iterable[int] = (PASSWORD, TOKEN), prologue: bytes = b"",
                 binding: tuple[str, bytes] = ("", b""), draws: Optional[Draws] = None,
                 tickets: Optional[Tickets] = None, account: FindAccount = lambda principal: None,
                 names: Optional[Iterable[str]] = (), busy: Optional[int] = None, proves: bool = True,
                 certificates: Sequence[bytes] = (), manifest: bytes = b"", stretching: Optional[Stretching] = None,
                 puzzle: int = 0):
        self.key, self.verify, self.suites, self.kinds = key, verify, list(suites), list(kinds)
        self.prologue, self.binding, self.draws = prologue, binding, draws or Draws()
        self.tickets, self.account, self.busy, self.proves = tickets, account, busy, proves
        self.names = None if names is None else set(names)
        self.evidence = {CERTIFICATES: certificate_list(certificates) if certificates else b"", MANIFEST: manifest}
        self.puzzle = puzzle  # how hard, in bits; 0 for none
        self.unsolved: Optional[tuple[Puzzle, bytes]] = None  # and the ClientHello that it was asked for
        self.stretching = stretching  # of those who take stretched passwords
        self.pending: Optional[tuple[Further, int]] = None  # and the kind of the credential
        self.can_be_asked, self.asked = False, 0
        self.resumes: Optional[Session] = None
        self.not_taken: Optional[Refused] = None
        self.ended: Optional[Refused] = None
        self.reason: Optional[Refused] = None
        self.proved = False
        self.spki = spki_of(key.public_key())
        server_key(self.spki)
        # What is verified where no credential came out: of the first kind taken, with a name that no account can have.
        secret = KeyProof(fresh(), fresh()).encode() if self.kinds[0] == BY_KEY else fresh()
        if self.kinds[0] == STRETCHED and stretching:
            secret = StretchedPassword([bytes(VALUE) for _ in stretching.parameters]).encode()
        self.stand_in = Credential(self.kinds[0], "" if self.kinds[0] == TOKEN else "\0", secret)

    def on_client_hello(self, received: bytes) -> bytes:
        hello = ClientHello.decode(received[3:])
        require(VERSION in hello.versions, "S7", "no version in common")
        common = [suite for suite in self.suites if suite in hello.suites]
        require(bool(common), "S8", "no suite in common")
        self.server_name, id_ = hello.server_name, key_id(self.spki)
        require(self.names is None or self.server_name in self.names or not self.server_name, "S12",
                "a name that we do not go by")
        ours = bool(hello.rsa_ciphertext) and hello.known_keys[0] == self.opens_under()
        if ours:
            self.check_ciphertext(hello.rsa_ciphertext, "S15")
        opens = ours and self.proves
        if self.busy is not None:
            self.ended = Refused("busy", "no room")
            return frame(BUSY, Busy(self.busy).encode())
        if self.puzzle:
            puzzle, self.puzzle = Puzzle(self.puzzle, self.puzzle_nonce()), 0
            self.unsolved = puzzle, received
            return frame(BUSY, Busy(77, [(PUZZLE, puzzle.encode())]).encode())
        own_context = context(self.prologue, self.binding)
        if hello.context != own_context:
            self.ended = Refused("context", "the client has another prologue or channel binding")
            opens = False
        if hello.ticket and self.tickets:
            try:
                sealed, account = self.take(self.tickets, hello, opens, received)
            except Refused as why:
                self.not_taken = why
            else:
                return self.resume(sealed, account, hello, received)
        suite = common[0]
        share, self.exchange_secret = self.exchange(suite, hello)
        spki = b"" if id_ in hello.known_keys else self.spki
        offered = dict(hello.extensions)
        self.can_be_asked = FACTORS in offered
        evidence = [(number, data) for number, data in self.evidence.items() if data and number in offered]
        announced = [(STRETCHING, self.stretching.encode())] if self.stretching else []
        answer = ServerHello(VERSION, suite, self.draws.nonce, id_, spki, share, self.kinds, own_context,
                             evidence + self.draws.extensions + announced, bytes(PROOF if opens else 0))
        data = frame(SERVER_HELLO, answer.encode())
        end = len(data) - 2 - len(answer.proof)
        self.schedule = Schedule(suite, self.prologue, self.binding, received + data[:end])  # transcript_p
        self.proved = opens
        if opens:
            self.schedule.mix(self.unwrap_hello(hello, received), self.exchange_secret)
            data = data[:end] + lp(self.schedule.key(b"proof"))
        self.schedule.add(data[end:])  # transcript_2
        return data

    def puzzle_nonce(self) -> bytes:
        return fresh()

    def on_solution(self, received: bytes) -> bytes:
        """What answers the ClientHello, after `unsolved` was asked."""
        assert self.unsolved
        (puzzle, hello), self.unsolved = self.unsolved, None
        puzzle.check(hello, counters_of(received))
        return self.on_client_hello(hello)

    def opens_under(self) -> bytes:
        """The id of the key that opens what is in a ClientHello."""
        return key_id(self.spki)

    def unwrap_hello(self, hello: ClientHello, received: bytes) -> bytes:
        start = seed(self.prologue, self.binding)
        secret, self.reason = self.unwrap(hello.rsa_ciphertext, transcript_h(start, received))
        return secret

    def exchange(self, suite: int, hello: ClientHello) -> tuple[bytes, bytes]:
        """The server's share, and exchange_secret."""
        share = dict(hello.key_shares).get(suite >> 8, b"")  # none for RSA alone
        return server_exchange(suite >> 8, self.draws.exchanges[suite >> 8], share, "S9")

    def take(self, tickets: Tickets, hello: ClientHello, opens: bool, received: bytes) -> tuple[Sealed, Account]:
        """What is in a good ticket, and the account as it is now. Who breaks a rule goes on with a ServerHello."""
        require(hello.context == context(self.prologue, self.binding), "K11", "another context")
        sealed = tickets.open(hello.ticket)
        wanted = binder(sealed.secret, seed(self.prologue, self.binding), received)
        require(hmac.compare_digest(hello.binder, wanted), "K3", "the binder is another")
        tickets.check_times(sealed)
        require(sealed.suite in hello.suites and sealed.suite in self.suites, "K4", "its suite")
        require(sealed.key_id == key_id(self.spki), "K5", "from a login under another key")
        require(sealed.place == place(self.server_name, self.prologue), "K8", "of another server name or prologue")
        require(sealed.kind in self.kinds, "K9", "a kind of credential that is not taken now")
        tickets.check_chain(hello.ticket, sealed)
        require(opens or not hello.rsa_ciphertext, "not opened", "the ciphertext beside it")
        tickets.use(hello.ticket, sealed)
        account = self.account(sealed.principal)
        if not account or account.epoch != sealed.epoch:
            raise Refused("K7", "the account is gone or has changed")
        return sealed, account

    def resume(self, sealed: Sealed, account: Account, hello: ClientHello, received: bytes) -> bytes:
        share, exchange_secret = self.exchange(sealed.suite, hello)
        answer = ServerResumption(VERSION, sealed.suite, self.draws.nonce, share, bytes(VERDICT_SIZE + TAG),
                                  self.draws.extensions)
        head = frame(SERVER_RESUMPTION, answer.encode())[:-len(answer.sealed_verdict)]
        self.schedule = Schedule(sealed.suite, self.prologue, self.binding, received + head)  # transcript_3
        rsa_secret = self.unwrap_hello(hello, received) if hello.rsa_ciphertext else bytes(32)
        self.schedule.mix(rsa_secret, exchange_secret, sealed.secret)
        verdict = self.with_ticket(Verdict(ACCEPT, sealed.principal, account.permissions), sealed.kind, sealed)
        sealed_verdict = self.seal(verdict)
        self.schedule.add(sealed_verdict)
        self.resumes = Session(self.schedule, verdict, is_client=False, resumed=True)
        return head + sealed_verdict

    def on_confirm(self, received: bytes) -> Session:
        """The session: the client is there."""
        assert self.resumes
        self.schedule.open(b"confirm", received[3:], "F2")
        return self.resumes

    def with_ticket(self, verdict: Verdict, kind: int, of: Optional[Sealed] = None) -> Verdict:
        """The verdict with a ticket, if there are any and the principal has an account. For transcript_3."""
        account = self.account(verdict.principal)
        if not self.tickets or not account:
            return verdict
        of = of or self.tickets.begin(verdict.principal, account.epoch, self.schedule.suite, key_id(self.spki),
                                      place(self.server_name, self.prologue), kind)
        ticket, lifetime = self.tickets.renew(of, self.schedule.key(b"resumption"))
        return replace(verdict, ticket=ticket, ticket_lifetime=lifetime)

    def check_ciphertext(self, ciphertext: bytes, rule: str) -> None:
        modulus = self.key.public_key().public_numbers().n
        require(len(ciphertext) == (modulus.bit_length() + 7) // 8, rule, "length of the RSA ciphertext")
        require(int.from_bytes(ciphertext, "big") < modulus, rule, "RSA ciphertext above the modulus")

    def on_client_login(self, received: bytes) -> tuple[bytes, Outcome]:
        """The verdict's frame, and the session, or what is asked for, or the reason why there is neither: that is for
        the log alone."""
        r = Reader(received[3:], "L2")
        try:
            ciphertext, sealed = r.blob(), r.blob()
            r.end()
            if self.proved:
                require(not ciphertext, "L3", "a second RSA ciphertext")
            else:
                self.check_ciphertext(ciphertext, "L3")
            length = len(sealed) - TAG
            require(length % BLOCK == 0 and BLOCK <= length <= MAX_PADDED, "L4", "length of the sealed credential")
        except Refused as why:
            return self.refuse(received, why)
        if not self.proved:
            rsa_secret, self.reason = self.unwrap(ciphertext, self.schedule.transcript())
            self.schedule.mix(rsa_secret, self.exchange_secret)
        self.schedule.add(received[:5 + len(ciphertext)])
        transcript_r = self.schedule.transcript()
        credential, reason = self.stand_in, self.reason
        try:
            opened = Credential.decode_padded(self.schedule.open(b"credential", sealed, "L7"))
            require(opened.kind in self.kinds, "L9", "a kind that is not taken")
            if opened.kind == STRETCHED:
                assert self.stretching
                StretchedPassword.decode(opened.secret, self.stretching)
            if opened.kind == BY_KEY:
                proof = KeyProof.decode(opened.secret)
                require_signature(proof.key, signed(transcript_r, opened.user), proof.signature)
            credential = opened
        except Refused as why:
            reason = reason or why
        self.schedule.add(received[5 + len(ciphertext):])  # transcript_3
        return self.judge(self.verify(credential), credential.kind, reason, "L10")

    def on_client_factor(self, received: bytes) -> tuple[bytes, Outcome]:
        """As on_client_login(). The schedule is at transcript_f."""
        assert self.pending
        (further, kind), self.pending = self.pending, None
        try:
            factor = Factor.decode_padded(self.schedule.open(b"factor", received[3:], "N2"))
        except Refused as why:
            return self.refuse(received, why)
        self.schedule.add(received)  # transcript_3
        return self.judge(further.check(factor.answer), kind, None, "N4")

    def judge(self, judged: Judged, kind: int, reason: Optional[Refused], rule: str) -> tuple[bytes, Outcome]:
        """The schedule is at transcript_3. `reason` is why what was judged is not what came."""
        if isinstance(judged, Verdict) and judged.decision == NOT_NOW:
            return self.answer(judged), Refused("not now", "we can't decide")
        if isinstance(judged, Further) and not self.can_be_asked:
            reason = reason or Refused("L12", "a further factor is wanted, and the client can't be asked")
        if reason or not judged:
            return self.answer(Verdict(REJECT)), reason or Refused(rule, "not good")
        if isinstance(judged, Further):
            return self.ask(judged, kind)
        verdict = self.with_ticket(judged, kind)
        answer = self.answer(verdict)
        self.schedule.add(answer)
        return answer, Session(self.schedule, verdict, is_client=False)

    def ask(self, further: Further, kind: int) -> tuple[bytes, Outcome]:
        self.asked += 1
        assert self.asked <= MAX_FACTORS, "a client may be asked for four factors"
        FactorRequest.decode(further.request.encode())
        answer = self.answer(further.request.verdict())
        self.schedule.add(answer)  # transcript_f
        self.pending = further, kind
        return answer, further

    def unwrap(self, ciphertext: bytes, transcript: bytes) -> tuple[bytes, Optional[Refused]]:
        """Implicit rejection: rsa_secret, or the fallback in its place."""
        try:
            plain = self.key.decrypt(ciphertext, OAEP)
        except ValueError:
            plain = b""
        good = (len(plain) == 64) & hmac.compare_digest(plain[32:], transcript)
        mask = 255 * good
        secret = bytes(p & mask | f & ~mask & 255 for p, f in zip(plain[:32].ljust(32, b"\0"), self.draws.fallback))
        return secret, None if good else Refused("L6", "the RSA ciphertext does not decrypt to this transcript")

    def refuse(self, received: bytes, why: Refused) -> tuple[bytes, Refused]:
        """L1 to L4, without an RSA operation, and N1 and N2; `received` is the frame as far as it came. One that was
        refused by its header is not in the transcript."""
        if not self.proved and why.rule[0] == "L":
            self.schedule.mix(self.draws.fallback, self.exchange_secret)
        if why.rule not in ("L1", "N1"):
            self.schedule.add(received)
        return self.answer(Verdict(REJECT)), self.reason or why

    def answer(self, verdict: Verdict) -> bytes:
        return frame(SERVER_VERDICT, self.seal(verdict))

    def seal(self, verdict: Verdict) -> bytes:
        return self.schedule.seal(b"verdict", verdict.encode_padded())
