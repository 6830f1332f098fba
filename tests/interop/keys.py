"""Server keys, and how any public key is read."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wire import Refused, require


def key_id(spki: bytes) -> bytes:
    return hashlib.sha256(spki).digest()


def fingerprint(id_: bytes) -> str:
    return "SHA256:" + base64.b64encode(id_).decode().rstrip("=")


def spki_of(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def server_key(spki: bytes) -> rsa.RSAPublicKey:
    key = public_key(spki, "C7")
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused("C7", "not an RSA key")
    require_bounds(key, "C7")
    return key


def public_key(spki: bytes, rule: str) -> PublicKeyTypes:
    """The one whose canonical DER this is."""
    try:
        key = serialization.load_der_public_key(spki)
        canonical = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # ValueError, UnsupportedAlgorithm, and what else a parser may raise
        raise Refused(rule, "not a public key") from None
    require(canonical == spki, rule, "the DER is not canonical, or of another algorithm")
    return key


def require_bounds(key: rsa.RSAPublicKey, rule: str) -> None:
    n, e = key.public_numbers().n, key.public_numbers().e
    require(2048 <= n.bit_length() <= 8192 and n % 2 == 1, rule, "modulus")
    require(65537 <= e < 2 ** 33 and e % 2 == 1, rule, "public exponent")
