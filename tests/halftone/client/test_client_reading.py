"""Answers of a running system, as they were recorded, read into values."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.base import Contract
from contracts.views import BudgetView, DatasetView, JobView, LedgerEntryView, ModelView, Page
from halftone.client import Deleted, Health, InclusionProof, Preview, ProofWrong, Rows, Schema
from halftone.client.audit import check
from halftone.client.errors import AnswerWrong, JobFailed, JobRefused
from halftone.client.following import require_completed, seen
from halftone.client.handles import made_by
from halftone.client.reading import pages, parsed
from played_flow import RECORDED, Play, recorded


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ready", Health),
        ("ingested", JobView),
        ("completed", JobView),
        ("dataset", DatasetView),
        ("proposed", Schema),
        ("attested", Schema),
        ("budget", BudgetView),
        ("preview", Preview),
        ("rows", Rows),
        ("deleted", Deleted),
        ("proof", InclusionProof),
    ],
)
def test_recorded_answers_are_understood(name: str, kind: type[Contract]) -> None:
    """Also when a newer server says more than this client knows."""
    data = recorded(name).json()
    assert parsed(kind, data) == parsed(kind, {**data, "something_new": [1]})


def test_another_answer_is_refused_with_its_kind() -> None:
    """What cannot be understood is not guessed at."""
    with pytest.raises(AnswerWrong, match="Preview"):
        parsed(Preview, recorded("engines").json())


def test_pages_are_followed_to_the_end() -> None:
    """Each page is asked for with the cursor of the one before."""
    play = Play([recorded("jobs_first"), recorded("jobs_next")])
    play.run(pages(play.core, JobView, "/v1/jobs", state="completed", dataset=None))
    first, following = recorded("jobs_first").json(), recorded("jobs_next").json()
    assert [view.id for view in play.told] == [item["id"] for item in first["items"] + following["items"]]
    assert [request.query.get("cursor") for request in play.asked] == [None, first["next"]]
    assert all(request.query["state"] == "completed" and "dataset" not in request.query for request in play.asked)


def test_no_more_is_asked_for_than_wanted() -> None:
    """A limit within the first page asks for one page of that size."""
    play = Play([recorded("jobs_first")])
    play.run(pages(play.core, JobView, "/v1/jobs", limit=2))
    assert [request.query["limit"] for request in play.asked] == ["2"]


@pytest.mark.parametrize(("name", "kind"), [("entries", LedgerEntryView), ("models", ModelView)])
def test_items_of_lists_are_understood(name: str, kind: type[Any]) -> None:
    """Ledger entries and models."""
    assert Page[kind].read(recorded(name).json()).items


def test_a_refused_job_says_what_is_left() -> None:
    """The refusal's numbers are in the exception."""
    with pytest.raises(JobRefused) as caught:
        require_completed(seen(recorded("refused").json()))
    error = caught.value
    assert (error.code, error.status, error.job.state) == ("budget-exhausted", 409, "refused")
    assert error.fields["left"]["rho"] < error.fields["asked"]["rho"]


def test_a_failed_job_says_where() -> None:
    """Line and columns of a file that is no table."""
    with pytest.raises(JobFailed) as caught:
        require_completed(seen(recorded("failed").json()))
    assert caught.value.code == "row-ragged"
    assert caught.value.fields["line"] == 3


def test_a_job_names_the_dataset_that_it_makes() -> None:
    """An ingest and a synthesis make one."""
    ingested, completed = (seen(recorded(name).json()).view for name in ("ingested", "completed"))
    assert made_by(ingested) == recorded("registered").json()["dataset"]
    assert made_by(completed) == recorded("completed").json()["spec"]["target"]


def test_a_proof_is_checked_without_a_server() -> None:
    """With the key alone; one that was altered, or another key, does not pass."""
    proof, key = InclusionProof.read(recorded("proof").json()), recorded("key").text().strip()
    assert check(proof, key).index == proof.index
    altered = proof.model_copy(update={"entry": {**proof.entry, "time": "2000-01-01T00:00:00Z"}})
    with pytest.raises(ProofWrong, match="another entry"):
        check(altered, key)
    with pytest.raises(ProofWrong):
        check(proof, key[:-4] + "AAAA")


def test_a_schema_can_be_sent_as_it_was_read() -> None:
    """What the server says of the attestation is left out."""
    declaration = Schema.read(recorded("attested").json()).declaration()
    assert declaration.keys() == {"tables"}
    assert [column["name"] for column in declaration["tables"][0]["columns"]] == ["a", "b"]
    assert [column["minimum"] for column in declaration["tables"][0]["columns"]] == [0, 0]


def test_what_was_recorded_holds_no_secret() -> None:
    """Answers never show a token."""
    assert "ht_" not in str(RECORDED)
