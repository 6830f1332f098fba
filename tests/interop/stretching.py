"""Passwords that the client stretches: what a server says of it, and what a client computes."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Optional

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from wire import *

VALUE, MAX_SETS = 32, 2


@dataclass(frozen=True)
class StretchParameters:
    memory: int  # MiB
    passes: int
    lanes: int

    def encode(self) -> bytes:
        return u16(self.memory) + u8(self.passes) + u8(self.lanes)

    def work(self) -> int:
        return self.memory * self.passes


@dataclass(frozen=True)
class Stretching:
    """What stands in extension 4 of a ServerHello."""

    realm: str
    parameters: tuple[StretchParameters, ...]  # the newest first
    moving: bool = False

    def encode(self) -> bytes:
        return lp(self.realm.encode()) + listed(one.encode() for one in self.parameters) + u8(self.moving)

    @classmethod
    def decode(cls, data: Optional[bytes]) -> Stretching:
        if data is None:
            raise Refused("C15", "stretched passwords, and nothing said of stretching")
        r = Reader(data, "C15")
        realm = r.text()
        sets = r.items(MAX_SETS, lambda: StretchParameters(r.number(2), r.number(1), r.number(1)))
        moving = r.number(1)
        r.end()
        require(is_visible(realm, 1, 255), "C15", "realm")
        require(bool(sets) and unique(sets), "C15", "no parameters, or the same twice")
        require(all(one.memory and one.passes and one.lanes for one in sets), "C15", "parameters of nothing")
        require(moving in (0, 1), "C15", "moving")
        return cls(realm, tuple(sets), bool(moving))

    def require_bounds(self) -> None:
        for one in self.parameters:
            require(7 <= one.memory <= 256, "T6", "memory")
            require(35 <= one.work(), "T6", "memory times passes")
            require(one.lanes <= 16, "T6", "lanes")
        require(sum(one.work() for one in self.parameters) <= 1024, "T6", "memory times passes together")

    def salt(self, user: str) -> bytes:
        return hashlib.sha256(lp(b"countersign v1 stretch") + lp(self.realm.encode()) + lp(user.encode())).digest()

    def stretch(self, user: str, password: bytes) -> list[bytes]:
        """One value for each set of parameters."""
        return [Argon2id(salt=self.salt(user), length=VALUE, iterations=one.passes, lanes=one.lanes,
                         memory_cost=one.memory * 1024).derive(password) for one in self.parameters]

    def stored(self, user: str, password: bytes) -> list[bytes]:
        """What a server keeps of it."""
        return [hashlib.sha256(value).digest() for value in self.stretch(user, password)]


@dataclass
class StretchedPassword:
    values: list[bytes]
    password: bytes = b""

    def encode(self) -> bytes:
        return listed(self.values) + lp(self.password)

    @classmethod
    def decode(cls, data: bytes, of: Stretching) -> StretchedPassword:
        r = Reader(data, "L8")
        shown = cls(r.items(MAX_SETS, lambda: r.take(VALUE)), r.blob())
        r.end()
        require(len(shown.values) == len(of.parameters), "L8", "the number of values")
        require(of.moving or not shown.password, "L8", "a password that was not asked for")
        require(len(shown.password) <= 4096, "L8", "length of the password")
        return shown

    def is_good(self, stored: list[bytes]) -> bool:
        """Whether one of the values is that of what is kept; None of them is of nothing."""
        good = [hmac.compare_digest(hashlib.sha256(value).digest(), kept)
                for value, kept in zip(self.values, stored or [bytes(VALUE)] * MAX_SETS)]
        return any(good)
