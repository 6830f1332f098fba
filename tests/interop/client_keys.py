"""Keys of clients, which sign: KeyProof of PROTOCOL.md. And Ed25519, checked strictly, for manifests, too."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keys import public_key, require_bounds
from messages import Credential, KeyProof
from wire import BY_KEY, Refused, lp, require

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
ECDSA, PSS = ec.ECDSA(hashes.SHA256()), padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@dataclass
class KeyLogin:
    """The credential of a client with a key: what it shows is another one on every connection."""

    user: str
    key: PrivateKey

    @property
    def kind(self) -> int:
        return BY_KEY

    def encode_padded(self) -> bytes:
        """As long as what is shown, but without a signature."""
        return self.with_signature(bytes(signature_size(self.key.public_key()))).encode_padded()

    def proven(self, transcript_r: bytes) -> bytes:
        return self.with_signature(sign(self.key, signed(transcript_r, self.user))).encode_padded()

    def with_signature(self, signature: bytes) -> Credential:
        return Credential(BY_KEY, self.user, KeyProof(client_spki(self.key), signature).encode())


def signed(transcript_r: bytes, user: str) -> bytes:
    return b"\x20" * 64 + b"countersign v1 client signature" + b"\0" + transcript_r + lp(user.encode())


def client_spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def client_key(spki: bytes) -> PublicKey:
    key = public_key(spki, "L11")
    if isinstance(key, rsa.RSAPublicKey):
        require_bounds(key, "L11")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        require(isinstance(key.curve, ec.SECP256R1), "L11", "another curve than P-256")
    elif not isinstance(key, Ed25519PublicKey):
        raise Refused("L11", "a key that does not sign, or not here")
    return key


def signature_size(key: PublicKey) -> int:
    return (key.key_size + 7) // 8 if isinstance(key, rsa.RSAPublicKey) else 64


def sign(key: PrivateKey, message: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, PSS, hashes.SHA256())
    r, s = decode_dss_signature(key.sign(message, ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def require_signature(spki: bytes, message: bytes, signature: bytes) -> None:
    key = client_key(spki)
    require(len(signature) == signature_size(key), "L11", "length of the signature")
    try:
        if isinstance(key, Ed25519PublicKey):
            require_ed25519(key.public_bytes_raw(), message, signature, "L11")
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, PSS, hashes.SHA256())
        else:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), message, ECDSA)
    except InvalidSignature:
        raise Refused("L11", "the signature is not that key's") from None


# ---- Ed25519 --------------------------------------------------------------------------------------------------------

FIELD = 2 ** 255 - 19
# The y of the points whose order divides 8 (there are 8 of them, in pairs of one y but for 1 and -1).
SMALL_ORDER = {0, 1, FIELD - 1,
               0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826,
               0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7}


def require_point(point: bytes, rule: str) -> None:
    """Canonical, and of no small order. (That it is on the curve the library checks.)"""
    y = int.from_bytes(point, "little") & (2 ** 255 - 1)
    require(y < FIELD, rule, "a point that is not canonical")
    require(y not in SMALL_ORDER, rule, "a point of small order")


def require_ed25519(key: bytes, message: bytes, signature: bytes, rule: str) -> None:
    """The library refuses an S that is not below the group's order."""
    require_point(key, rule)
    require_point(signature[:32], rule)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused(rule, "the signature is not that key's") from None
