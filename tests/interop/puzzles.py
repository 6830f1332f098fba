"""Puzzles of servers under load: what is asked, and what solves it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from messages import Busy
from wire import *

COUNTERS, MAX_BITS = 16, 24


@dataclass
class Puzzle:
    bits: int
    nonce: bytes

    def encode(self) -> bytes:
        return u8(self.bits) + self.nonce

    @classmethod
    def decode(cls, data: bytes) -> Puzzle:
        r = Reader(data, "B1")
        puzzle = cls(r.number(1), r.take(32))
        r.end()
        require(1 <= puzzle.bits <= MAX_BITS, "B1", "a puzzle out of its bounds")
        return puzzle

    def start(self, hello: bytes) -> bytes:
        return hashlib.sha256(lp(b"countersign v1 puzzle") + lp(self.nonce) + lp(hashlib.sha256(hello).digest())).digest()

    def is_good(self, start: bytes, counter: int) -> bool:
        work = hashlib.sha256(start + u64(counter)).digest()
        return int.from_bytes(work, "big") >> (256 - self.bits) == 0

    def solve(self, hello: bytes) -> list[int]:
        start, counters, counter = self.start(hello), list[int](), 0
        while len(counters) < COUNTERS:
            if self.is_good(start, counter):
                counters.append(counter)
            counter += 1
        return counters

    def check(self, hello: bytes, counters: Sequence[int]) -> None:
        start = self.start(hello)
        require(all(one < following for one, following in zip(counters, counters[1:])), "B3", "counters that do not ascend")
        require(all(self.is_good(start, counter) for counter in counters), "B3", "a counter that is not good")


def solution(counters: Sequence[int]) -> bytes:
    return frame(SOLUTION, b"".join(u64(counter) for counter in counters))


def counters_of(received: bytes) -> list[int]:
    body = received[3:]
    require(len(body) == COUNTERS * 8, "B2", "a Solution of another length")
    return [int.from_bytes(body[at:at + 8], "big") for at in range(0, len(body), 8)]


def puzzle_in(busy: Busy) -> Puzzle:
    """Refused as B1 where there is none."""
    data = dict(busy.extensions).get(PUZZLE)
    require(data is not None, "B1", "no puzzle")
    assert data is not None
    return Puzzle.decode(data)
