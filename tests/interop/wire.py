"""The bytes of the countersign protocol: frames and their bounds, shapes of fields, and what refuses them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Optional, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

VERSION = 1
(CLIENT_HELLO, SERVER_HELLO, CLIENT_LOGIN, SERVER_VERDICT, DATA, KEY_UPDATE, CLOSE,
 SERVER_RESUMPTION, BUSY, CONFIRM, CLIENT_FACTOR, SOLUTION) = range(1, 13)
BODY = {CLIENT_HELLO: (53, 6276), SERVER_HELLO: (84, 19132), CLIENT_LOGIN: (4, 5652), SERVER_VERDICT: (2064, 2064),
        DATA: (17, 16400), KEY_UPDATE: (16, 16), CLOSE: (16, 16), SERVER_RESUMPTION: (2103, 20023), BUSY: (3, 1027),
        CONFIRM: (16, 16), CLIENT_FACTOR: (528, 528), SOLUTION: (128, 128)}
RSA_ALONE, RSA_X25519, RSA_X25519MLKEM768 = 1, 2, 3
Aead = type[AESGCM] | type[ChaCha20Poly1305]
AEADS: dict[int, Aead] = {0x0101: AESGCM, 0x0102: ChaCha20Poly1305, 0x0201: AESGCM, 0x0202: ChaCha20Poly1305,
                          0x0301: AESGCM, 0x0302: ChaCha20Poly1305}
FORWARD_SECRET = (0x0301, 0x0302, 0x0201, 0x0202)
PASSWORD, TOKEN, BY_KEY, STRETCHED = 1, 2, 3, 4
REJECT, ACCEPT, NOT_NOW, FURTHER = 0, 1, 2, 3
ONE_TIME_CODE, SHOWN, HIDDEN = 1, 2, 3  # the forms of a further factor
CERTIFICATES, MANIFEST, PUZZLE, STRETCHING, FACTORS = 1, 2, 3, 4, 5  # the extensions that mean something
FIRST_USE, CERTIFIED, VERIFIED = 1, 2, 3  # levels of trust
TAG, BLOCK, MAX_PADDED, VERDICT_SIZE, MAX_DATA, MAX_FRAMES = 16, 256, 4608, 2048, 16384, 2 ** 24
MAX_TICKET, MAX_GRANT, BINDER, PROOF = 500, 1024, 32, 32
MAX_SPKI, FACTOR_SIZE, MAX_FACTORS = 1088, 512, 4
# The bytes that the extensions of a message may have together.
CLIENT_EXTENSIONS, SERVER_EXTENSIONS, VERDICT_EXTENSIONS, BUSY_EXTENSIONS = 1024, 16384, 480, 1024
RESERVED = [n << 8 | n for n in range(0x0a, 0x100, 0x10)]  # extensions that will never mean anything
WEEK, SKEW = 7 * 24 * 3600, 60  # seconds
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
Extensions = list[tuple[int, bytes]]
T = TypeVar("T")


class Refused(Exception):
    """A MUST of PROTOCOL.md was broken; `rule` is its number there. `retry_after`, in seconds, is of a Busy alone."""

    def __init__(self, rule: str, why: str, retry_after: Optional[int] = None):
        super().__init__(f"{rule}: {why}")
        self.rule, self.retry_after = rule, retry_after


def require(condition: bool, rule: str, why: str) -> None:
    if not condition:
        raise Refused(rule, why)


# ---- Encoding -------------------------------------------------------------------------------------------------------

def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def lp(data: bytes) -> bytes:
    return u16(len(data)) + data


def listed(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return u8(len(items)) + b"".join(items)


def frame(kind: int, body: bytes) -> bytes:
    return u8(kind) + lp(body)


class Reader:
    """Takes a message apart; whatever is not its one encoding is refused by `rule`."""

    def __init__(self, data: bytes, rule: str):
        self.data, self.at, self.rule = data, 0, rule

    def take(self, size: int) -> bytes:
        require(self.at + size <= len(self.data), self.rule, "ends early")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def blob(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.blob().decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(self.rule, "text is not UTF-8") from None

    def items(self, most: int, item: Callable[[], T]) -> list[T]:
        count = self.number(1)
        require(count <= most, self.rule, "count over the maximum")
        return [item() for _ in range(count)]

    def extensions(self, most: int, twice: str, long: str) -> Extensions:
        """Refused by rule `twice` if they name a number twice, and by `long` if they are over `most` bytes."""
        start = self.at + 1
        extensions = self.items(16, lambda: (self.number(2), self.blob()))
        require(unique([number for number, _ in extensions]), twice, "an extension named twice")
        require(self.at - start <= most, long, "the extensions are too long")
        return extensions

    def end(self) -> None:
        require(self.at == len(self.data), self.rule, "bytes left over")

    def zeros(self) -> None:
        require(not any(self.take(len(self.data) - self.at)), self.rule, "padding is not zeros")


def extended(extensions: Extensions) -> bytes:
    return listed(u16(number) + lp(data) for number, data in extensions)


def unique(items: Sequence[object]) -> bool:
    return len(set(items)) == len(items)


def is_name(text: str) -> bool:
    return 1 <= len(text.encode()) <= 255 and not any(unicodedata.category(c) == "Cc" for c in text)


def is_visible(text: str, low: int, high: int) -> bool:
    return low <= len(text) <= high and all(0x21 <= ord(c) <= 0x7e for c in text)
