"""Certificates of files: put into a Parquet file's footer, found there, and checked against its rows."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from halftone.certificates.claim import FOOTER, Claim, read_statement, statement
from halftone.certificates.content import content_hash
from halftone.certificates.dsse import CertificateError, Signed, sign, verify

LIBRARIES = ("halftone-data", "opendp", "numpy", "pyarrow")


def certify(content: str, claim: Claim, key: Ed25519PrivateKey) -> Signed:
    """The certificate of a table's content, by its hash."""
    return sign(statement(claim, content), key)


def footer(signed: Signed) -> dict[bytes, bytes]:
    """What goes into the footer of the Parquet file that holds the table."""
    return {FOOTER: signed.model_dump_json().encode()}


def versions() -> dict[str, str]:
    """The versions of the libraries that a release is made with."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def read_certificate(path: Path) -> bytes:
    """The certificate in a Parquet file's footer. Raises CertificateError."""
    try:
        kept = pq.read_metadata(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise CertificateError(f"{path} is no Parquet file: {error}") from error
    if FOOTER not in kept:
        raise CertificateError(f"{path} has no certificate in its footer: name it with --certificate.")
    return bytes(kept[FOOTER])


def verify_file(path: Path, envelope: bytes, public_key: str) -> Claim:
    """What a certificate says of a file, once signature and content hold. Raises CertificateError."""
    claim, digest = read_statement(verify(envelope, public_key))
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise CertificateError(f"{path} is no Parquet file: {error}") from error
    found = content_hash(table)
    if found != digest:
        raise CertificateError(f"The content of {path} is not what was certified: its hash is {found}, not {digest}.")
    return claim
