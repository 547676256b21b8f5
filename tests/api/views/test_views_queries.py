"""What the views answer once a story is told."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.exc import OperationalError

from api.views.projector import Fold
from api.views.queries import Views
from api.views.shape import cost_view
from contracts import subjects
from contracts.events import JobAccepted, JobStarted
from contracts.ids import ADMINISTRATOR, new_id, new_message_id
from contracts.jobs import JobKind, JobState, NoopSpec
from contracts.records import AuditAppended, AuditEntry, Progress
from contracts.views import DatasetState
from halftone.merkle import (
    MissingNodeError,
    ProofError,
    canonical,
    leaf_hash,
    root,
    verifier_key,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from halftone.privacy.conversion import job_cost

JOBS = {name: f"job_{n:032x}" for n, name in enumerate(("ingest", "bad ingest", "synthesize", "evaluate", "cancel", "refuse", "noop"), 1)}
REAL, SYNTHETIC, BROKEN = (f"ds_{digit * 32}" for digit in "123")
ACCOUNT = "acc_" + "a" * 32
TABLE, DECLARED, FIRST_PROFILE, PROFILE, REPORT = (f"obj_{n:032x}" for n in range(1, 6))
NEWEST_FIRST = ["noop", "evaluate", "refuse", "cancel", "synthesize", "bad ingest", "ingest"]


async def fold(views: Views, story: Any, stream: str = subjects.EVENTS) -> None:
    await views.write(lambda tx: Fold(views.tables, stream).apply(story.messages[stream], tx.connection))


async def test_each_job_is_where_its_events_left_it(told: Any) -> None:
    """Accepted without a cost is queued; every other job here has ended, each in its own way."""
    states = {name: (await told.job(job)).state for name, job in JOBS.items()}
    ends = {"bad ingest": "failed", "cancel": "cancelled", "refuse": "refused", "noop": "queued"}
    assert states == {name: ends.get(name, "completed") for name in JOBS}


async def test_a_job_with_a_cost_waits_for_the_budget_before_it_is_queued(views: Any, story: Any, full_story: Any) -> None:
    """Until the keeper has reserved its cost, a synthesis is accepted and no more."""
    events = [e for e in full_story.envelopes if e.data.get("job") == JOBS["synthesize"] and "registered" not in e.type]
    seen = []
    for event in events:
        story.add(event)
        await fold(views, story)
        seen.append((await views.job(JOBS["synthesize"])).state)
    assert list(dict.fromkeys(seen)) == ["accepted", "queued", "running", "completed"]


async def test_a_job_tells_why_it_ended_as_it_did(told: Any) -> None:
    """Outputs, the failure's objects and the refusal's numbers are in the job, with the epsilon that they mean."""
    done, failed, refused = [await told.job(JOBS[name]) for name in ("evaluate", "bad ingest", "refuse")]
    assert done
    assert failed
    assert refused
    assert [(o.role, o.artifact, o.href) for o in done.outputs] == [("report", REPORT, f"/v1/artifacts/{REPORT}")]
    assert failed.failure
    assert failed.failure.code == "csv-ragged"
    assert failed.failure.problem
    assert failed.failure.log
    assert refused.refusal
    assert refused.refusal.code == "budget-exhausted"
    assert (refused.refusal.asked.rho, refused.refusal.left.rho) == (40_000_000_000, 30_000_000_000)
    assert 0 < refused.refusal.left.epsilon < refused.refusal.asked.epsilon < 2.5
    assert (done.failure, done.refusal, failed.outputs, failed.refusal) == (None, None, (), None)
    assert done.principal == ADMINISTRATOR
    assert done.created <= done.started <= done.ended


async def test_what_is_not_known_is_none(told: Any) -> None:
    """No id of another makes an answer."""
    assert await told.job(new_id("job")) is None
    assert await told.dataset(new_id("ds")) is None
    assert await told.account(new_id("acc")) is None
    assert await told.artifact(TABLE) is None
    assert await told.audit_entry(JOBS["noop"]) is None
    assert await told.inclusion(JOBS["noop"]) is None


async def test_a_job_that_only_others_have_spoken_of_is_not_shown(views: Any, story: Any) -> None:
    """Before its acceptance is folded nobody can say what a job is."""
    job = new_id("job")
    story.tell(JobStarted(job=job, attempt=1))
    await fold(views, story)
    assert await views.job(job) is None
    assert (await views.jobs()).items == ()
    story.tell(JobAccepted(job=job, spec=NoopSpec()))
    await fold(views, story)
    assert (await views.job(job)).state is JobState.RUNNING


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_of_jobs_are_the_whole_list_newest_first(told: Any, limit: int) -> None:
    """Following the cursors gives each job once, whatever the page's size, and no cursor leads nowhere."""
    pages = [await told.jobs(limit=limit)]
    while pages[-1].next:
        pages.append(await told.jobs(after=pages[-1].next, limit=limit))
    assert [job.id for page in pages for job in page.items] == [JOBS[name] for name in NEWEST_FIRST]
    assert len(pages) == -(-7 // limit)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"state": JobState.COMPLETED}, ["evaluate", "synthesize", "ingest"]),
        ({"kind": JobKind.SYNTHESIZE}, ["refuse", "cancel", "synthesize"]),
        ({"kind": JobKind.SYNTHESIZE, "state": JobState.CANCELLED}, ["cancel"]),
        ({"dataset": SYNTHETIC}, ["evaluate", "synthesize"]),
        ({"dataset": REAL, "state": JobState.COMPLETED, "after": JOBS["evaluate"]}, ["synthesize", "ingest"]),
        ({"after": "job_" + "f" * 32}, []),
    ],
    ids=str,
)
async def test_jobs_are_found_by_state_kind_and_dataset(told: Any, asked: dict[str, Any], found: list[str]) -> None:
    """Filters hold together; a job counts for each dataset that it reads or makes; after an unknown job there is nothing."""
    assert [job.id for job in (await told.jobs(**asked)).items] == [JOBS[name] for name in found]


async def test_a_jobs_story_is_told_from_any_point(told: Any) -> None:
    """In the order of the stream, mechanism included, its end marked as such."""
    story = await told.job_events(JOBS["synthesize"])
    types = ["job.accepted.v1", "job.started.v1", "mechanism.started.v1", "mechanism.run.v1", "job.completed.v1"]
    assert [e.type.split(".", 1)[1] for e in story] == types
    assert [e.terminal for e in story] == [False, False, False, False, True]
    assert await told.job_events(JOBS["synthesize"], story[1].sequence) == story[2:]
    assert story[1].data == {"job": JOBS["synthesize"], "attempt": 1}


async def test_progress_is_shown_of_the_running_attempt_alone(views: Any, story: Any) -> None:
    """Neither a job that waits nor a later attempt shows what an earlier one said."""
    job = new_id("job")
    story.tell(JobAccepted(job=job, spec=NoopSpec()))
    await fold(views, story)
    views.progress.put(Progress(job=job, attempt=1, step="fit", fraction=0.5))
    assert (await views.job(job)).progress is None
    story.tell(JobStarted(job=job, attempt=1))
    await fold(views, story)
    assert (await views.job(job)).progress.fraction == 0.5
    story.tell(JobStarted(job=job, attempt=2))
    await fold(views, story)
    assert (await views.job(job)).progress is None


async def test_a_dataset_is_what_its_events_say(told: Any) -> None:
    """State, lineage, and of its version the latest profile and the attested schema."""
    page = await told.datasets()
    assert [(d.id, d.state) for d in page.items] == [
        (SYNTHETIC, DatasetState.READY),
        (BROKEN, DatasetState.FAILED),
        (REAL, DatasetState.READY),
    ]
    synthetic, broken, real = page.items
    assert (synthetic.parents, synthetic.account, synthetic.job) == ((REAL,), ACCOUNT, JOBS["synthesize"])
    assert broken.versions == ()
    assert broken.failure
    assert broken.failure.code == "csv-ragged"
    (version,) = real.versions
    assert (version.table, version.profile, version.declared, version.attested_by) == (TABLE, PROFILE, DECLARED, ADMINISTRATOR)
    assert await told.dataset(REAL) == real
    assert [d.id for d in (await told.datasets(after=SYNTHETIC, limit=1)).items] == [BROKEN]


async def test_an_account_is_its_last_ledger_row(told: Any) -> None:
    """Sums to the unit, the limit as it was stated, and epsilons at that limit's delta."""
    budget = await told.account(ACCOUNT)
    assert budget
    assert budget.limit
    assert (budget.entry, budget.epsilon, budget.delta) == (7, 3.0, 1e-9)
    assert (budget.spent.rho, budget.reserved.rho, budget.left.rho) == (20_000_000_000, 0, 30_000_000_000)
    assert 0 < budget.spent.epsilon < budget.left.epsilon < budget.limit.epsilon


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_a_cost_shows_the_epsilon_that_bought_it(epsilon: float) -> None:
    """What a job of (epsilon, delta) costs means that epsilon again; half of delta was the conversion's."""
    assert cost_view(job_cost(epsilon, 1e-9), 10**9).epsilon == pytest.approx(epsilon, rel=1e-6)


async def test_proofs_find_their_nodes_by_key(told: Any) -> None:
    """The log may have millions of leaves: none of its nodes is searched for."""
    asked: list[Any] = []
    told.all = _recorded(told.all, asked)
    assert await told.consistency(5, 9)
    assert len(asked) == 1
    query = asked[0].compile(dialect=dialect(), compile_kwargs={"literal_binds": True})
    plan = [row.detail for row in await Views.all(told, text(f"EXPLAIN QUERY PLAN {query}"))]
    assert any(line.startswith("SEARCH audit_nodes USING PRIMARY KEY") for line in plan)
    assert not any(line.startswith("SCAN") for line in plan)


def _recorded(ask: Any, asked: list[Any]) -> Any:
    def recording(query: Any) -> Any:
        asked.append(query)
        return ask(query)

    return recording


async def test_an_account_without_a_limit_has_nothing_left(told: Any) -> None:
    """It is known from its dataset's registration on, and shows no epsilon: there is no delta to state one at."""
    broken = await told.dataset(BROKEN)
    budget = await told.account(broken.account)
    assert budget
    assert (budget.entry, budget.limit, budget.epsilon, budget.left.rho, budget.left.epsilon) == (0, None, None, 0, None)


async def test_a_ledger_is_paged_oldest_first(told: Any) -> None:
    """Every row once, in order, with what it was about."""
    first = await told.entries(ACCOUNT, limit=5)
    rest = await told.entries(ACCOUNT, after=int(first.next or 0), limit=5)
    entries = [*first.items, *rest.items]
    kinds = ["limited", "reserved", "charged", "reserved", "released", "refused", "observed"]
    assert [(e.entry, e.kind) for e in entries] == list(enumerate(kinds, 1))
    assert rest.next is None
    assert (entries[0].epsilon, entries[0].cost, entries[2].cost.rho) == (3.0, None, 20_000_000_000)
    assert (entries[5].code, entries[5].left.rho) == ("budget-exhausted", 30_000_000_000)


async def test_evaluations_are_found_from_either_side(told: Any) -> None:
    """A completed evaluation belongs to the synthetic dataset and to the real one, and to no other."""
    (evaluation,) = await told.evaluations()
    assert (evaluation.dataset, evaluation.real, evaluation.report) == (SYNTHETIC, REAL, REPORT)
    assert await told.evaluations(SYNTHETIC) == await told.evaluations(REAL) == [evaluation]
    assert await told.evaluations(BROKEN) == []


async def test_an_artifact_knows_its_job(told: Any) -> None:
    """Whoever may see the job may be given the file."""
    artifact = await told.artifact(REPORT)
    assert artifact
    assert (artifact.job, artifact.role) == (JOBS["evaluate"], "report")


async def test_inclusion_of_every_logged_event_is_proven(told: Any, full_story: Any) -> None:
    """The proofs hold against the signed root, and each leaf is the hash of the entry that is shown."""
    size = full_story.nodes.size
    vkey = verifier_key("test/log", full_story.key.public_key())
    for event in full_story.envelopes[:size]:
        found = await told.inclusion(event.id)
        assert found is not None
        entry, proof, checkpoint = found
        signed = verify_checkpoint(checkpoint.note, vkey)
        assert (signed.size, entry.entry["id"]) == (checkpoint.size, event.id)
        assert leaf_hash(canonical(entry.entry)).hex() == entry.leaf
        verify_inclusion(bytes.fromhex(entry.leaf), entry.index, signed.size, proof, signed.root)
    assert [e.index for e in await told.audit_entries(3, 5)] == [3, 4, 5, 6, 7]


async def test_consistency_is_proven_between_all_sizes(told: Any, full_story: Any) -> None:
    """Any earlier size against any later one, up to what is signed and not beyond."""
    nodes, size = full_story.nodes, full_story.nodes.size
    for new in range(size + 1):
        for old in range(0, new + 1, 5):
            proof = await told.consistency(old, new)
            verify_consistency(old, new, root(old, nodes.get), root(new, nodes.get), proof)
    with pytest.raises(ProofError):
        await told.consistency(1, size + 1)


async def test_an_entry_beyond_the_signed_size_has_no_proof_yet(views: Any, story: Any) -> None:
    """It is listed, and its proof comes with the next checkpoint."""
    story.tell(*(JobAccepted(job=new_id("job"), spec=NoopSpec()) for _ in range(3)))
    story.log(2)
    story.log(1, signed=False)
    await fold(views, story, subjects.AUDIT)
    assert await views.inclusion(story.envelopes[1].id) is not None
    assert await views.audit_entry(story.envelopes[2].id) is not None
    assert await views.inclusion(story.envelopes[2].id) is None


async def test_nodes_are_read_one_by_one(told: Any, full_story: Any) -> None:
    """A complete node is there; one that is not complete is missed by name."""
    assert await told.audit_node(2, 1) == full_story.nodes.get(2, 1)
    with pytest.raises(MissingNodeError):
        await told.audit_node(9, 0)


async def test_a_log_with_a_gap_proves_nothing_beyond_it(views: Any, full_story: Any) -> None:
    """Entries after the gap are listed, but no node is made up for what is missing."""
    held = [m for m in full_story.messages[subjects.AUDIT] if m.sequence != 3]
    await views.write(lambda tx: Fold(views.tables, subjects.AUDIT).apply(held, tx.connection))
    with pytest.raises(MissingNodeError):
        await views.inclusion(full_story.envelopes[0].id)
    assert [e.index for e in await views.audit_entries(0, 3)] == [0, 7, 8]


async def test_readers_cannot_write(told: Any) -> None:
    """Whatever a query is made to say, it changes nothing."""
    with pytest.raises(OperationalError, match="readonly"):
        await told.first(told.tables["jobs"].delete().returning(told.tables["jobs"].c.job))


@pytest.mark.parametrize("damage", ["another version", "no database"])
async def test_a_file_that_cannot_serve_is_made_anew(tmp_path: Path, full_story: Any, damage: str) -> None:
    """Views of another version, or a broken file, are dropped at the start: the streams hold everything."""
    path = tmp_path / "views.sqlite"
    views = Views(f"sqlite:///{path}")
    await views.open()
    await fold(views, full_story)
    await views.close()
    if damage == "no database":
        path.write_bytes(b"not a database at all" * 100)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version=7")
        connection.close()
    views = Views(f"sqlite:///{path}")
    await views.open()
    assert await views.position(subjects.EVENTS) == (0, None)
    assert (await views.jobs()).items == ()
    await views.close()


async def test_a_file_of_this_version_is_kept(tmp_path: Path, full_story: Any) -> None:
    """A restart begins where the last one ended."""
    path = tmp_path / "views.sqlite"
    for _ in range(2):
        views = Views(f"sqlite:///{path}")
        await views.open()
        held = await views.position(subjects.EVENTS)
        await fold(views, full_story)
        await views.close()
    assert held[0] == len(full_story.messages[subjects.EVENTS])


async def test_an_entry_of_the_log_is_not_replaced(views: Any, story: Any) -> None:
    """A second claim to an index changes neither the entry nor the tree."""
    story.tell(JobAccepted(job=new_id("job"), spec=NoopSpec()), JobAccepted(job=new_id("job"), spec=NoopSpec()))
    story.log(2)
    entry = story.envelopes[1].model_dump(mode="json", exclude_none=True)
    story.tell(AuditAppended(entries=(AuditEntry(index=0, event=new_message_id(), leaf="00" * 32, entry=entry),)))
    await fold(views, story, subjects.AUDIT)
    assert (await views.audit_entries(0, 9))[0].event == story.envelopes[0].id
    assert await views.audit_node(0, 0) == story.nodes.get(0, 0)
