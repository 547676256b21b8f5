"""Signed statements: DSSE envelopes (Dead Simple Signing Envelope 1.0.2) under Ed25519."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from contracts.base import Contract

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class CertificateError(ValueError):
    """The certificate does not hold."""

    code = "certificate-invalid"


class DsseSignature(Contract):
    """One signature."""

    keyid: str = Field(description="first 16 hex digits of the SHA-256 of the public key's 32 bytes")
    sig: str = Field(description="base64")


class Signed(Contract):
    """A payload and who signed it."""

    payload: str = Field(description="base64")
    payloadType: str = Field(description="what the payload is")  # noqa: N815  # the specification's spelling
    signatures: tuple[DsseSignature, ...] = Field(min_length=1)


def sign(payload: bytes, key: Ed25519PrivateKey) -> Signed:
    """Sign a payload of in-toto's type."""
    signature = key.sign(_pae(PAYLOAD_TYPE, payload))
    signed = DsseSignature(keyid=key_id(key.public_key()), sig=_base64(signature))
    return Signed(payload=_base64(payload), payloadType=PAYLOAD_TYPE, signatures=(signed,))


def verify(envelope: bytes | dict[str, Any], public_key: str) -> bytes:
    """The payload that a key has signed.

    Raises CertificateError where the envelope is none, another key has signed it, or a byte of it was altered.
    """
    try:
        signed = Signed.model_validate_json(envelope, extra="ignore") if isinstance(envelope, bytes) else Signed.read(envelope)
    except ValidationError as error:
        raise CertificateError("It is no signed statement (DSSE): a payload, its type, and signatures.") from error
    if signed.payloadType != PAYLOAD_TYPE:
        raise CertificateError(f"It is a statement of type {signed.payloadType[:80]!r}, not {PAYLOAD_TYPE!r}.")
    key = load_public_key(public_key)
    mine = [each for each in signed.signatures if each.keyid == key_id(key)]
    if not mine:
        raise CertificateError(f"It is not signed by the key {key_id(key)}, but by {signed.signatures[0].keyid[:32]}.")
    payload = _bytes(signed.payload)
    for each in mine:
        try:
            key.verify(_bytes(each.sig), _pae(signed.payloadType, payload))
        except InvalidSignature:
            raise CertificateError("The signature does not fit: the certificate was altered after it was signed.") from None
    return payload


def key_id(key: Ed25519PublicKey) -> str:
    """What a key is called."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def dump_public_key(key: Ed25519PublicKey) -> str:
    """Its 32 bytes in base64."""
    return _base64(key.public_bytes_raw())


def load_public_key(text: str) -> Ed25519PublicKey:
    """Read a key as ``dump_public_key`` spells it. Raises CertificateError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except ValueError:
        raise CertificateError("A public key is 32 bytes in base64.") from None


def _pae(kind: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding, in which no two pairs of type and payload are alike."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CertificateError("It is not base64 where it should be.") from None
