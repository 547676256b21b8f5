"""Certificates: signed, put into files, found there, and worth nothing once anything was changed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.cost import BudgetTerms, Composition, Cost
from contracts.ids import new_id
from halftone.certificates.claim import NOT_COVERED, Charge, Claim, ClaimedMechanism, read_statement, registry_entry, statement, told
from halftone.certificates.content import content_hash
from halftone.certificates.dsse import PAYLOAD_TYPE, CertificateError, dump_public_key, sign, verify
from halftone.certificates.files import certify, footer, read_certificate, verify_file, versions

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = dump_public_key(KEY.public_key())
TABLE = pa.table({"n": [1, 2, 3]})


def claim(**changed: Any) -> Claim:
    said: dict[str, Any] = {
        "dataset": new_id("ds"),
        "version": 1,
        "made": "2026-03-01T09:30:00Z",
        "source": new_id("ds"),
        "source_version": 1,
        "declared": new_id("obj"),
        "engine": "marginal",
        "terms": BudgetTerms(composition=Composition.ZCDP, by_user=True, contribution=3),
        "unit_column": "person",
        "epsilon": 1.0,
        "delta": 1e-9,
        "cost": Cost(rho=14407578614),
        "mechanisms": (ClaimedMechanism(kind="discrete_gaussian", columns=("n",), cells=3, sensitivity=3.0, scale=17.7, rho=14407578614),),
        "charge": Charge(account=new_id("acc"), job=new_id("job"), step="measure", attempt=1, reservation=2, event="0" * 36),
        "observed": 1,
        "unbounded": 0,
        "versions": versions(),
    }
    return Claim.model_validate({**said, **changed})


@pytest.fixture
def released(tmp_path: Path) -> Path:
    signed = certify(content_hash(TABLE), claim(), KEY)
    with pq.ParquetWriter(tmp_path / "released.parquet", TABLE.schema) as writer:
        writer.write_table(TABLE)
        writer.add_key_value_metadata(footer(signed))
    return tmp_path / "released.parquet"


def test_a_file_carries_its_certificate(released: Path) -> None:
    """In its footer; of a file that others wrote again, with other compression and no footer, the one beside it still holds."""
    found = verify_file(released, read_certificate(released), PUBLIC)
    assert (found.epsilon, found.unit_column, found.observed) == (1.0, "person", 1)
    again = released.with_name("again.parquet")
    pq.write_table(pq.read_table(released), again, compression="gzip", row_group_size=1)
    assert verify_file(again, read_certificate(released), PUBLIC) == found


def test_a_changed_value_is_found(released: Path) -> None:
    """One row other, and the content is not what was certified."""
    envelope = read_certificate(released)
    pq.write_table(pa.table({"n": [1, 2, 4]}), released)
    with pytest.raises(CertificateError, match="not what was certified"):
        verify_file(released, envelope, PUBLIC)


def test_a_changed_statement_is_found(released: Path) -> None:
    """Whoever makes epsilon smaller breaks the signature; so does another type, and another key is told."""
    envelope = json.loads(read_certificate(released))
    payload = base64.b64decode(envelope["payload"]).replace(b'"epsilon":1.0', b'"epsilon":0.1')
    for other in ({"payload": base64.b64encode(payload).decode()}, {"payloadType": "text/plain"}, {"payload": "=!"}):
        with pytest.raises(CertificateError):
            verify_file(released, json.dumps({**envelope, **other}).encode(), PUBLIC)
    stranger = dump_public_key(Ed25519PrivateKey.generate().public_key())
    with pytest.raises(CertificateError, match="not signed by the key"):
        verify_file(released, json.dumps(envelope).encode(), stranger)
    forged = sign(payload, Ed25519PrivateKey.generate())
    mine = {**forged.signatures[0].model_dump(), "keyid": envelope["signatures"][0]["keyid"]}
    forged_as_ours = forged.model_dump() | {"signatures": [mine]}
    with pytest.raises(CertificateError, match="altered"):
        verify(forged_as_ours, PUBLIC)


def test_the_envelope_is_dsse() -> None:
    """The signature is over the pre-authentication encoding of DSSE 1.0.2, checked here without our code."""
    signed = sign(b"hello", KEY)
    encoded = b"DSSEv1 28 application/vnd.in-toto+json 5 hello"
    KEY.public_key().verify(base64.b64decode(signed.signatures[0].sig), encoded)
    assert (signed.payloadType, base64.b64decode(signed.payload)) == (PAYLOAD_TYPE, b"hello")


@pytest.mark.parametrize("envelope", [b"", b"{}", b"[1]", b'{"payload": 1}'])
def test_what_is_no_certificate_is_refused(released: Path, envelope: bytes) -> None:
    """With a sentence that says what one is."""
    with pytest.raises(CertificateError, match="DSSE"):
        verify_file(released, envelope, PUBLIC)


def test_a_file_without_one_and_what_is_no_file_are_told_apart(tmp_path: Path) -> None:
    """What is missing is named."""
    pq.write_table(TABLE, tmp_path / "plain.parquet")
    with pytest.raises(CertificateError, match="no certificate in its footer"):
        read_certificate(tmp_path / "plain.parquet")
    (tmp_path / "text.parquet").write_text("rows")
    with pytest.raises(CertificateError, match="no Parquet file"):
        read_certificate(tmp_path / "text.parquet")
    with pytest.raises(CertificateError, match="32 bytes"):
        verify(sign(b"x", KEY).model_dump(), "short")


def test_statements_of_others_are_refused() -> None:
    """Signed by us, but of something else."""
    other = json.loads(statement(claim(), "00"))
    with pytest.raises(CertificateError, match="another kind"):
        read_statement(json.dumps({**other, "predicateType": "https://slsa.dev/provenance/v1"}).encode())
    for broken in (b"no json", b"{}", json.dumps({**other, "predicate": {}}).encode(), json.dumps({**other, "subject": []}).encode()):
        with pytest.raises(CertificateError, match="lacks"):
            read_statement(broken)


def test_a_person_can_read_it() -> None:
    """The promise, the unit, and what is not covered; after a release without noise, that nothing bounds the total."""
    text = told(claim(), "ab" * 32)
    for said in ("epsilon 1 at delta 1e-09", "column 'person'", "at most 3 rows", *NOT_COVERED):
        assert said in text
    assert "NO BOUND" not in text
    assert "NO BOUND ON THE TOTAL" in told(claim(unbounded=1), "ab" * 32)


def test_the_registrys_fields_are_documented() -> None:
    """Each field of the export has a row in docs/certificates.md, and each row its field."""
    page = (Path(__file__).parents[3] / "docs" / "certificates.md").read_text(encoding="utf-8").split("| field | from |")[1]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    fields = {name.strip(" `") for row in rows for name in row.split(",")}
    assert registry_entry(claim(), curator="a", product="b", use="c").keys() == fields
