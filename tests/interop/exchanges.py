"""Key exchanges, and what one end draws for a handshake."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wire import RESERVED, RSA_ALONE, RSA_X25519, RSA_X25519MLKEM768, Extensions, Reader, Refused


class X25519:
    """RFC 7748. What either end draws is its private key."""

    DRAW, CLIENT_SHARE, SERVER_SHARE = 32, 32, 32

    @staticmethod
    def offer(drawn: bytes) -> bytes:
        return X25519PrivateKey.from_private_bytes(drawn).public_key().public_bytes_raw()

    @staticmethod
    def answer(drawn: bytes, share: bytes) -> tuple[bytes, bytes]:
        return X25519.offer(drawn), X25519.finish(drawn, share)

    @staticmethod
    def finish(drawn: bytes, share: bytes) -> bytes:
        """ValueError: the output is all zeros."""
        return X25519PrivateKey.from_private_bytes(drawn).exchange(X25519PublicKey.from_public_bytes(share))


class MlKem768:
    """FIPS 203. What the client draws is its seed, d || z; what the server draws is left to the library."""

    DRAW, CLIENT_SHARE, SERVER_SHARE = 64, 1184, 1088

    @staticmethod
    def offer(drawn: bytes) -> bytes:
        return MLKEM768PrivateKey.from_seed_bytes(drawn).public_key().public_bytes_raw()

    @staticmethod
    def answer(_: bytes, share: bytes) -> tuple[bytes, bytes]:
        """ValueError: a coefficient is not reduced."""
        secret, ciphertext = MLKEM768PublicKey.from_public_bytes(share).encapsulate()
        return ciphertext, secret

    @staticmethod
    def finish(drawn: bytes, share: bytes) -> bytes:
        return MLKEM768PrivateKey.from_seed_bytes(drawn).decapsulate(share)


Part = type[X25519] | type[MlKem768]
# The parts of each key exchange, in the order in which their shares and their secrets are joined.
PARTS: dict[int, list[Part]] = {RSA_ALONE: [], RSA_X25519: [X25519], RSA_X25519MLKEM768: [MlKem768, X25519]}


def client_share(exchange: int, drawn: Sequence[bytes]) -> bytes:
    return b"".join(part.offer(own) for part, own in zip(PARTS[exchange], drawn))


def server_exchange(exchange: int, drawn: Sequence[bytes], share: bytes, rule: str) -> tuple[bytes, bytes]:
    """The server's share, and exchange_secret."""
    r = Reader(share, rule)
    try:
        pairs = [part.answer(own, r.take(part.CLIENT_SHARE)) for part, own in zip(PARTS[exchange], drawn)]
    except ValueError:
        raise Refused(rule, "unusable key share") from None
    r.end()
    return b"".join(answer for answer, _ in pairs), b"".join(secret for _, secret in pairs) or bytes(32)


def client_exchange(exchange: int, drawn: Sequence[bytes], share: bytes, rule: str) -> bytes:
    """exchange_secret, from the server's share."""
    r = Reader(share, rule)
    try:
        secrets = [part.finish(own, r.take(part.SERVER_SHARE)) for part, own in zip(PARTS[exchange], drawn)]
    except ValueError:
        raise Refused(rule, "unusable key share") from None
    r.end()
    return b"".join(secrets) or bytes(32)


# ---- What is drawn --------------------------------------------------------------------------------------------------

def fresh() -> bytes:
    return os.urandom(32)


def fresh_parts() -> dict[int, list[bytes]]:
    return {exchange: [os.urandom(part.DRAW) for part in parts] for exchange, parts in PARTS.items()}


def now_and_then() -> Extensions:
    """In one hello of eight an extension that nobody may understand, so that its skipping is exercised."""
    return [(secrets.choice(RESERVED), b"")] if secrets.randbelow(8) == 0 else []


@dataclass
class Draws:
    """What one end draws for one handshake, but for OAEP's seed. Only tests give any of it."""

    nonce: bytes = field(default_factory=fresh)
    exchanges: dict[int, list[bytes]] = field(default_factory=fresh_parts)  # for each key exchange, that of its parts
    rsa_secret: bytes = field(default_factory=fresh)  # the client's, for its ClientHello
    login_secret: bytes = field(default_factory=fresh)  # the client's, for its ClientLogin
    fallback: bytes = field(default_factory=fresh)  # the server's
    extensions: Extensions = field(default_factory=now_and_then)
