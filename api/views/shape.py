"""From rows to what HTTP answers with."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json
from sqlalchemy import Row

from api.views.fold import ENDS
from contracts.cost import DELTA_SCALE, EPSILON_SCALE, NOTHING, BudgetTerms, Cost, Room
from contracts.envelope import MESSAGES
from contracts.events import BudgetObserved, BudgetReleaseEntered, BudgetUnbounded, JobCompleted, JobFailed, JobRefused, MechanismRuns
from contracts.ids import AccountId, ObjectId
from contracts.jobs import EvaluateSpec, JobKind, JobSpec, JobState, Output, SynthesizeSpec
from contracts.records import Progress
from contracts.views import (
    ApprovalView,
    AuditEntryView,
    BudgetView,
    CheckpointView,
    CostView,
    DatasetState,
    DatasetVersionView,
    DatasetView,
    DeadLetterView,
    EvaluationView,
    FailureView,
    JobEventView,
    JobView,
    LedgerEntryView,
    ModelView,
    OutputView,
    ProgressView,
    QuotaView,
    RefusalView,
    RoomView,
)
from halftone.privacy.conversion import epsilon_of

_MECHANISMS: TypeAdapter[tuple[MechanismRuns, ...]] = TypeAdapter(tuple[MechanismRuns, ...])
_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
_END = {state: kind for kind, state in ENDS.items()}

Ended = JobCompleted | JobFailed | JobRefused | None


def cost_view(cost: Cost, delta: int | None) -> CostView:
    """A cost with the epsilon that it means where the stated delta (1e-18) is known; half of that is the conversion's."""
    pure = cost.pure / EPSILON_SCALE
    return CostView(rho=cost.rho, delta=cost.delta, pure=pure, epsilon=None if delta is None else _epsilon(cost.rho, delta))


@functools.lru_cache(maxsize=4096)
def _epsilon(rho: int, delta: int) -> float | None:
    share = Fraction(delta, 2 * DELTA_SCALE)
    return epsilon_of(rho, share) if share < 1 else None


def job_view(row: Row[Any], progress: Progress | None) -> JobView:
    """A job, with how far it is while it runs."""
    state = JobState(row.state)
    spec = _SPEC.validate_json(row.spec, extra="ignore")
    end = _outcome(state, row.outcome)
    running = progress if progress is not None and state is JobState.RUNNING and progress.attempt >= row.attempt else None
    return JobView(
        id=row.job,
        kind=JobKind(row.kind),
        state=state,
        project=row.project,
        principal=row.principal,
        spec=spec,
        attempt=row.attempt,
        progress=progress_view(running) if running else None,
        outputs=outputs_view(end.outputs) if isinstance(end, JobCompleted) else (),
        failure=FailureView(code=end.code, problem=end.problem, log=end.log) if isinstance(end, JobFailed) else None,
        refusal=_refusal(end, spec) if isinstance(end, JobRefused) else None,
        approval=row.approval or ("waiting" if row.held is not None and not state.terminal else None),
        retry_of=row.retry_of,
        sequence=row.sequence,
        created=row.created,
        started=row.started,
        ended=row.ended,
    )


def progress_view(progress: Progress) -> ProgressView:
    return ProgressView(attempt=progress.attempt, step=progress.step, fraction=progress.fraction, left=progress.left)


def outputs_view(outputs: Sequence[Output]) -> tuple[OutputView, ...]:
    return tuple(OutputView(role=o.role, artifact=o.object, href=f"/v1/artifacts/{o.object}") for o in outputs)


def _outcome(state: JobState, outcome: str | None) -> Ended:
    kind = _END.get(state)
    if kind is None or outcome is None:
        return None
    event = kind.read(json.loads(outcome))
    return event if isinstance(event, JobCompleted | JobFailed | JobRefused) else None


def failure_objects(outcome: str | None) -> set[ObjectId]:
    """What is stored of why a job failed."""
    end = _outcome(JobState.FAILED, outcome)
    return {each for each in (end.problem, end.log) if each is not None} if isinstance(end, JobFailed) else set()


def _refusal(refused: JobRefused, spec: JobSpec) -> RefusalView:
    delta = spec.delta if isinstance(spec, SynthesizeSpec) else None
    asked, left = cost_view(refused.asked, delta), cost_view(refused.left, delta)
    limits = tuple(RoomView(scope=room.scope, left=cost_view(room.left, delta)) for room in refused.limits)
    return RefusalView(account=refused.account, code=refused.code, asked=asked, left=left, limits=limits)


def event_view(row: Row[Any]) -> JobEventView:
    terminal = MESSAGES.get(row.type) in ENDS
    return JobEventView(
        sequence=row.sequence, id=row.id, type=row.type, job=row.job, time=row.time, data=json.loads(row.data), terminal=terminal
    )


def dataset_view(row: Row[Any], versions: Sequence[DatasetVersionView], account: AccountId) -> DatasetView:
    """A dataset under its account; its job's end says why it has no version."""
    return DatasetView(
        id=row.dataset,
        origin=row.origin,
        state=DatasetState.DELETED if row.deleted else _dataset_state(row.job_state, ready=bool(versions)),
        account=account,
        job=row.job,
        parents=tuple(json.loads(row.parents)),
        versions=tuple(versions),
        project=row.project,
        principal=row.principal,
        failure=None if versions or row.job_state is None else _dataset_failure(JobState(row.job_state), row.job_outcome),
        created=row.created,
        deleted=row.deleted,
        sequence=row.sequence,
    )


def _dataset_state(job_state: str | None, *, ready: bool) -> DatasetState:
    if ready:
        return DatasetState.READY
    match job_state:
        case JobState.CANCELLED:
            return DatasetState.CANCELLED
        case JobState.FAILED | JobState.REFUSED:
            return DatasetState.FAILED
        case _:
            return DatasetState.INGESTING


def _dataset_failure(state: JobState, outcome: str | None) -> FailureView | None:
    match _outcome(state, outcome):
        case JobFailed() as end:
            return FailureView(code=end.code, problem=end.problem, log=end.log)
        case JobRefused() as end:
            return FailureView(code=end.code)
        case _:
            return None


def version_view(row: Row[Any]) -> DatasetVersionView:
    return DatasetVersionView(
        version=row.version,
        origin=row.origin,
        table=row.table_object,
        proposal=row.proposal,
        profile=row.profile,
        declared=row.declared,
        attested_by=row.attested_by,
        attested=row.attested,
        job=row.job,
        added=row.added,
    )


def _cost(row: Row[Any], name: str) -> Cost | None:
    rho = getattr(row, f"{name}_rho")
    return None if rho is None else Cost(rho=rho, delta=getattr(row, f"{name}_delta"), pure=getattr(row, f"{name}_pure"))


def _optional_cost(row: Row[Any], name: str, delta: int | None) -> CostView | None:
    cost = _cost(row, name)
    return None if cost is None else cost_view(cost, delta)


def budget_view(row: Row[Any], kinds: Mapping[str, int]) -> BudgetView:
    """An account; its costs as epsilons at the delta of its limit. ``kinds`` says how many entries of each kind it has."""
    spent, reserved, limit = _cost(row, "spent") or NOTHING, _cost(row, "reserved") or NOTHING, _cost(row, "limit")
    before = _cost(row, "before") or NOTHING
    left = NOTHING if limit is None else (spent - before + reserved).left(limit)
    said = json.loads(row.terms) if row.terms is not None else {}
    approval = Cost.read(said["approval"]) if said.get("approval") else None
    return BudgetView(
        account=row.account,
        entry=row.entry,
        epsilon=None if row.epsilon is None else row.epsilon / EPSILON_SCALE,
        delta=None if row.delta is None else row.delta / DELTA_SCALE,
        limit=None if limit is None else cost_view(limit, row.delta),
        spent=cost_view(spent, row.delta),
        reserved=cost_view(reserved, row.delta),
        left=cost_view(left, row.delta),
        before=None if before == NOTHING else cost_view(before, row.delta),
        terms=BudgetTerms.read(said["terms"]) if "terms" in said else None,
        window_days=said.get("window_days"),
        approval=None if approval is None else cost_view(approval, row.delta),
        observed=kinds.get(BudgetObserved.VERB, 0),
        unbounded=kinds.get(BudgetUnbounded.VERB, 0) + kinds.get(BudgetReleaseEntered.VERB, 0),
        sequence=row.sequence,
    )


def quota_view(row: Row[Any], spent: Cost, delta: int | None) -> QuotaView:
    """Somebody's quota, as it was last set."""
    limit = _cost(row, "quota") or NOTHING
    stated = {"epsilon": row.epsilon / EPSILON_SCALE, "delta": row.delta / DELTA_SCALE}
    return QuotaView(holder=row.holder, **stated, limit=cost_view(limit, delta), spent=cost_view(spent, delta))


def quota_room(row: Row[Any], taken: Cost) -> Room:
    """What somebody's quota leaves."""
    return Room(scope="project" if row.holder.startswith("prj_") else "person", left=taken.left(_cost(row, "quota") or NOTHING))


def approval_view(row: Row[Any]) -> ApprovalView:
    """A charge that waits."""
    links = {"job": f"/v1/jobs/{row.job}", "approve": f"/v1/approvals/{row.job}:approve", "decline": f"/v1/approvals/{row.job}:decline"}
    return ApprovalView(
        job=row.job,
        account=row.account,
        entry=row.entry,
        cost=cost_view(_cost(row, "cost") or NOTHING, row.stated_delta),
        principal=row.principal,
        project=row.project,
        time=row.time,
        links=links,
    )


def entry_view(row: Row[Any], delta: int | None) -> LedgerEntryView:
    """A ledger row; its costs as epsilons at a stated delta (1e-18)."""
    return LedgerEntryView(
        account=row.account,
        entry=row.entry,
        kind=row.kind,
        job=row.job,
        step=row.step,
        attempt=row.attempt,
        cost=_optional_cost(row, "cost", delta),
        spent=cost_view(_cost(row, "spent") or NOTHING, delta),
        reserved=cost_view(_cost(row, "reserved") or NOTHING, delta),
        limit=_optional_cost(row, "limit", delta),
        epsilon=None if row.epsilon is None else row.epsilon / EPSILON_SCALE,
        delta=None if row.delta is None else row.delta / DELTA_SCALE,
        code=row.code,
        left=_optional_cost(row, "left", delta),
        principal=row.principal,
        project=row.project,
        reason=row.reason,
        holder=row.holder,
        mechanisms=_MECHANISMS.validate_python(json.loads(row.mechanisms)["mechanisms"], extra="ignore") if row.mechanisms else (),
        event=row.event,
        index=row.place,
        sequence=row.sequence,
        time=row.time,
    )


def evaluation_view(row: Row[Any]) -> EvaluationView:
    """A completed evaluate job."""
    spec = EvaluateSpec.read(json.loads(row.spec))
    outputs = JobCompleted.read(json.loads(row.outcome)).outputs
    return EvaluationView(
        job=row.job,
        dataset=spec.synthetic.dataset,
        version=spec.synthetic.version,
        real=spec.real.dataset,
        real_version=spec.real.version,
        report=next((o.object for o in outputs if o.role == "report"), None),
        outputs=outputs_view(outputs),
        project=row.project,
        principal=row.principal,
        ended=row.ended,
    )


def model_view(row: Row[Any]) -> ModelView:
    """What a completed synthesize job fitted."""
    spec = SynthesizeSpec.read(json.loads(row.spec))
    return ModelView(
        id=row.object,
        engine=spec.engine,
        dataset=spec.source.dataset,
        version=spec.source.version,
        synthetic=spec.target,
        job=row.job,
        epsilon=spec.epsilon / EPSILON_SCALE,
        delta=spec.delta / DELTA_SCALE,
        declared=spec.declared,
        account=spec.account,
        project=row.project,
        principal=row.principal,
        created=row.ended,
    )


def audit_entry_view(row: Row[Any]) -> AuditEntryView:
    return AuditEntryView(index=row.place, event=row.event, leaf=row.leaf.hex(), entry=json.loads(row.entry))


def checkpoint_view(row: Row[Any]) -> CheckpointView:
    return CheckpointView(size=row.size, note=row.note, time=row.time)


def letter_view(row: Row[Any], *, whole: bool = False) -> DeadLetterView:
    """A dead letter, with the message that it holds if it is looked at for itself."""
    shown: dict[str, Any] = {}
    if whole and row.type is not None:
        shown["message"] = from_json(base64.b64decode(row.body))
    elif whole:
        shown["body"] = row.body
    return DeadLetterView(
        id=row.letter,
        reason=row.reason,
        attempts=row.attempts,
        subject=row.subject,
        source=row.source,
        type=row.type,
        job=row.job,
        time=row.time,
        settled=row.how,
        replayed_as=row.replayed_as,
        **shown,
    )
