"""The tickets of a server, and what it knows of an account when one comes back."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Optional

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchanges import fresh
from wire import SKEW, TAG, WEEK, Reader, Refused, lp, require, u8, u16, u64


@dataclass
class Account:
    """What a server knows of a principal that may log in now. The epoch is another whenever the account has changed."""

    epoch: int
    permissions: list[str]


@dataclass
class Sealed:
    """What is in a ticket of this server's. Times are in seconds since 1970."""

    principal: str
    epoch: int
    suite: int
    key_id: bytes
    place: bytes  # the hash of the server name and the prologue
    kind: int  # of the credential that the chain began with
    began: int  # when that was shown
    chain: bytes  # 16 random bytes, the same in the whole chain
    chain_key: bytes  # the name of the ticket key that the chain's first ticket was sealed under
    made: int
    expires: int
    secret: bytes


def place(server_name: str, prologue: bytes) -> bytes:
    return hashlib.sha256(lp(server_name.encode()) + lp(prologue)).digest()


class Tickets:
    """Seals and opens the tickets of one server, or of several that share the keys. All have 448 bytes.

    `lifetime` is of one ticket, `chain_lifetime` from the credential on, both in seconds. rotate() makes a new ticket
    key; tickets under the `kept` newest open.
    """

    NAME = 8

    def __init__(self, lifetime: int = 3600, single_use: bool = True, clock: Callable[[], float] = time.time,
                 chain_lifetime: int = WEEK, kept: int = 2):
        self.lifetime, self.chain_lifetime, self.single_use, self.clock = lifetime, chain_lifetime, single_use, clock
        self.kept, self.latest = kept, 0
        self.keys: list[tuple[bytes, AESGCM]] = []  # the newest first, with their names
        self.used: dict[bytes, list[tuple[bytes, int]]] = {}  # by chain: the tickets, and when
        self.rotate()

    def rotate(self) -> None:
        self.keys = [(os.urandom(self.NAME), AESGCM(fresh()))] + self.keys[:self.kept - 1]

    def now(self) -> int:
        """The clock, but it never goes back: that would make good again what was not."""
        self.latest = max(self.latest, int(self.clock()))
        return self.latest

    def age(self, name: bytes) -> Optional[int]:
        """How many keys are newer than the one of this name; None: it opens no tickets any more."""
        return next((at for at, (other, _) in enumerate(self.keys) if other == name), None)

    def begin(self, principal: str, epoch: int, suite: int, id_: bytes, place_: bytes, kind: int) -> Sealed:
        now = self.now()
        return Sealed(principal, epoch, suite, id_, place_, kind, now, os.urandom(16), self.keys[0][0], now, now, b"")

    def renew(self, of: Sealed, secret: bytes) -> tuple[bytes, int]:
        """The next ticket of the chain and its lifetime; of no ticket it is 0."""
        now = self.now()
        expires = min(now + self.lifetime, of.began + self.chain_lifetime)
        if expires <= now:
            return b"", 0
        return self.seal(replace(of, made=now, expires=expires, secret=secret)), expires - now

    def seal(self, of: Sealed) -> bytes:
        (name, cipher), nonce = self.keys[0], os.urandom(12)
        state = (u64(of.epoch) + u16(of.suite) + of.key_id + of.place + u8(of.kind) + u64(of.began) + of.chain
                 + of.chain_key + u64(of.made) + u64(of.expires) + of.secret
                 + lp(of.principal.encode()).ljust(2 + 255, b"\0"))
        return name + nonce + cipher.encrypt(nonce, state, name)

    def open(self, ticket: bytes) -> Sealed:
        name, nonce, sealed = ticket[:self.NAME], ticket[self.NAME:self.NAME + 12], ticket[self.NAME + 12:]
        age = self.age(name)
        if age is None or len(sealed) < TAG:
            raise Refused("K1", "not under a ticket key of ours")
        try:
            r = Reader(self.keys[age][1].decrypt(nonce, sealed, name), "K1")
        except InvalidTag:
            raise Refused("K1", "not a ticket of ours") from None
        epoch, suite, id_, place_, kind, began = (r.number(8), r.number(2), r.take(32), r.take(32), r.number(1),
                                                  r.number(8))
        chain, chain_key, made, expires, secret = r.take(16), r.take(self.NAME), r.number(8), r.number(8), r.take(32)
        opened = Sealed(r.text(), epoch, suite, id_, place_, kind, began, chain, chain_key, made, expires, secret)
        r.zeros()
        return opened

    def check_times(self, of: Sealed) -> None:
        now = self.now()
        require(now < of.expires, "K2", "it has expired")
        require(now < of.began + self.chain_lifetime, "K2", "its chain is too old")
        require(max(of.began, of.made) <= now + SKEW, "K2", "it is from the future")

    def check_chain(self, ticket: bytes, of: Sealed) -> None:
        own, began = self.age(ticket[:self.NAME]), self.age(of.chain_key)
        if own is None or began is None or began < own:
            raise Refused("K10", "the ticket key that its chain began under")

    def use(self, ticket: bytes, of: Sealed) -> None:
        """K6. Only for a ticket that is good otherwise, or anybody could use it up."""
        if not self.single_use:
            return
        used = self.used.setdefault(of.chain, [])
        require(all(other != ticket and at <= of.made for other, at in used), "K6", "it or its chain was used since")
        used.append((ticket, self.now()))
