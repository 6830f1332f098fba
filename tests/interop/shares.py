"""Joined key shares, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Callable

from countersign import Client


def coefficient(share: bytes, at: int, value: int) -> bytes:
    """The client's share with this coefficient in its encapsulation key: 12 bits each, the lowest first."""
    bits = int.from_bytes(share, "little") & ~(0xfff << 12 * at) | value << 12 * at
    return bits.to_bytes(len(share), "little")


UNUSABLE: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda share: b"",
    "X25519's part alone": lambda share: share[-32:],
    "ML-KEM's part alone": lambda share: share[:-32],
    "a byte too few": lambda share: share[:-1],
    "a byte too many": lambda share: share + b"\0",
    "an X25519 part of zeros": lambda share: share[:-32] + bytes(32),
    "an X25519 part of small order": lambda share: share[:-32] + b"\x01" + bytes(31),
}
UNUSABLE_CLIENTS: dict[str, Callable[[bytes], bytes]] = {
    **UNUSABLE,
    "a first coefficient of 3329": lambda share: coefficient(share, 0, 3329),
    "a last coefficient of 4095": lambda share: coefficient(share, 767, 4095),
    "its parts the other way round": lambda share: share[-32:] + share[:-32],
}


def receiving(change: Callable[[bytes], bytes]) -> type[Client]:
    """A client that takes another share than what came, and that of the transcript."""
    class Receiving(Client):
        def exchange(self, suite: int, share: bytes, rule: str) -> bytes:
            return super().exchange(suite, change(share), rule)

    return Receiving
