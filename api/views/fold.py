"""From events to rows. Each function takes one event and says what it adds; it reads nothing.

Rows are merged into tables by rules (``merge``) under which an event that comes again changes nothing. That is what makes a view one
function of its stream, however the stream is cut into batches.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic_core import to_json

from contracts import subjects
from contracts.base import Message
from contracts.cost import NOTHING, Cost
from contracts.envelope import Envelope, UnknownMessage
from contracts.events import (
    EVENTS,
    BudgetApproved,
    BudgetDeclined,
    BudgetHeld,
    BudgetLimited,
    BudgetObserved,
    BudgetQuotaSet,
    BudgetRefreshed,
    BudgetRefused,
    BudgetReserved,
    BudgetUnbounded,
    BusRepaired,
    DatasetDeleted,
    DatasetProfiled,
    DatasetRegistered,
    DatasetVersionAdded,
    JobAccepted,
    JobCancelled,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobLedgerEvent,
    JobRefused,
    JobStarted,
    LedgerEvent,
    LetterSettled,
    MechanismsRun,
    SchemaAttested,
)
from contracts.ids import DatasetId, JobId, is_job
from contracts.jobs import EvaluateSpec, ExportSpec, IngestSpec, JobSpec, JobState, NoopSpec, SampleSpec, SynthesizeSpec
from contracts.recorded import Outcome
from contracts.records import AuditAppended, CheckpointSigned, DeadLetter

log = structlog.get_logger()

RANK: dict[JobState, int] = {JobState.ACCEPTED: 0, JobState.QUEUED: 1, JobState.RUNNING: 2} | dict.fromkeys(
    (state for state in JobState if state.terminal), 3
)
"""How far along a state is: a job's rank only rises, and so nothing follows an end."""

ENDS: dict[type[JobEvent], JobState] = {
    JobCompleted: JobState.COMPLETED,
    JobFailed: JobState.FAILED,
    JobCancelled: JobState.CANCELLED,
    JobRefused: JobState.REFUSED,
}

_IDS = re.compile(r"\b[a-z]{2,3}_[0-9a-f]{32}\b")
Row = dict[str, Any]
Rows = defaultdict[str, list[Row]]
"""What events add, by table, in the order of the stream."""


def fold(rows: Rows, sequence: int, envelope: Envelope) -> None:
    """Add what one event says. Types that this version does not know leave a trace in their job's story, and nothing else."""
    job = job_of(envelope.subject)
    if job is not None:
        rows["job_events"].append(
            {
                "sequence": sequence,
                "job": job,
                "id": envelope.id,
                "type": envelope.type,
                "time": envelope.time,
                "data": _json(envelope.data),
            }
        )
    try:
        message = envelope.message
    except UnknownMessage:
        return
    except ValidationError as error:
        log.warning("view.unreadable", sequence=sequence, type=envelope.type, errors=error.error_count())
        return
    folding = FOLDS.get(type(message))
    if folding is not None:
        folding(rows, sequence, envelope, message)


def job_of(subject: str) -> JobId | None:
    """The job that an event's subject names."""
    tokens = subject.split(".", 4)
    return tokens[3] if len(tokens) > 4 and tokens[3].startswith("job_") else None


def _json(data: Any) -> str:
    return to_json(data).decode()


def _job(rows: Rows, sequence: int, job: JobId, state: JobState, attempt: int = 0, **known: Any) -> None:
    rows["jobs"].append({"job": job, "state": state.value, "rank": RANK[state], "attempt": attempt, "sequence": sequence, **known})


def _accepted(rows: Rows, sequence: int, told: Envelope, event: JobAccepted) -> None:
    spec = event.spec
    # What costs nothing goes to its executor at once; the rest asks the budget keeper first.
    state = JobState.QUEUED if _goes_at_once(spec) else JobState.ACCEPTED
    _job(
        rows,
        sequence,
        event.job,
        state,
        accepted=sequence,
        kind=spec.kind.value,
        project=told.project,
        principal=told.principal,
        spec=_json(told.data["spec"]),
        retry_of=event.retry_of,
        created=told.time,
    )
    rows["job_datasets"] += [{"dataset": dataset, "job": event.job} for dataset in _datasets_of(spec)]


def _goes_at_once(spec: JobSpec) -> bool:
    return isinstance(spec, NoopSpec | IngestSpec | SampleSpec) or (isinstance(spec, ExportSpec) and spec.account is None)


def _datasets_of(spec: JobSpec) -> Iterable[DatasetId]:
    match spec:
        case IngestSpec():
            return (spec.dataset,)
        case SynthesizeSpec():
            return (spec.source.dataset, spec.target)
        case EvaluateSpec():
            return (spec.real.dataset, spec.synthetic.dataset)
        case SampleSpec():
            return (spec.target,)
        case ExportSpec():
            return (spec.source.dataset,)
        case NoopSpec():
            return ()


def _started(rows: Rows, sequence: int, told: Envelope, event: JobStarted) -> None:
    _job(rows, sequence, event.job, JobState.RUNNING, event.attempt, started=told.time)


def _ended(rows: Rows, sequence: int, told: Envelope, event: JobCompleted | JobFailed | JobCancelled | JobRefused) -> None:
    attempt = 0 if isinstance(event, JobRefused) else event.attempt
    _job(rows, sequence, event.job, ENDS[type(event)], attempt, ended=told.time, outcome=_json(told.data))
    if isinstance(event, JobCompleted):
        rows["artifacts"] += [{"object": output.object, "job": event.job, "role": output.role} for output in event.outputs]


def _registered(rows: Rows, sequence: int, told: Envelope, event: DatasetRegistered) -> None:
    rows["datasets"].append(
        {
            "dataset": event.dataset,
            "sequence": sequence,
            "origin": event.origin.value,
            "account": event.account,
            "job": event.job,
            "parents": _json(event.parents),
            "project": told.project,
            "principal": told.principal,
            "created": told.time,
        }
    )
    _account(rows, sequence, event.account)


def _version_added(rows: Rows, sequence: int, told: Envelope, event: DatasetVersionAdded) -> None:
    known = {"origin": event.origin.value, "table_object": event.table, "proposal": event.proposal, "job": event.job, "added": told.time}
    rows["versions"].append({"dataset": event.dataset, "version": event.version, "account": event.account, **known})
    if event.account is not None:
        _account(rows, sequence, event.account)


def _profiled(rows: Rows, sequence: int, _told: Envelope, event: DatasetProfiled) -> None:
    known = {"profile": event.profile, "profiled_at": sequence}
    rows["versions"].append({"dataset": event.dataset, "version": event.version, **known})


def _attested(rows: Rows, sequence: int, told: Envelope, event: SchemaAttested) -> None:
    known = {"declared": event.declared, "attested_by": told.principal, "attested": told.time, "declared_at": sequence}
    rows["versions"].append({"dataset": event.dataset, "version": event.version, **known})


def _deleted(rows: Rows, _sequence: int, told: Envelope, event: DatasetDeleted) -> None:
    rows["deletions"].append({"dataset": event.dataset, "deleted": told.time, "cascade": int(event.cascade)})


def _cost(name: str, cost: Cost | None) -> Row:
    return {f"{name}_{part}": None if cost is None else getattr(cost, part) for part in ("rho", "delta", "pure")}


def _account(rows: Rows, sequence: int, account: str, entry: int = 0, totals: LedgerEvent | None = None) -> None:
    row = {
        "account": account,
        "entry": entry,
        **_cost("spent", totals.spent if totals else NOTHING),
        **_cost("reserved", totals.reserved if totals else NOTHING),
        **_cost("limit", totals.limit if totals else None),
        "sequence": sequence,
    }
    if isinstance(totals, BudgetLimited):
        said = totals.model_dump_json(include={"terms", "window_days", "approval"})
        row |= {"limited": totals.entry, "epsilon": totals.epsilon, "delta": totals.delta, "terms": said}
        if totals.window_days is None:
            # Without windows the limit is for all that was ever spent.
            row |= {"refreshed": totals.entry, **_cost("before", NOTHING)}
    elif isinstance(totals, BudgetRefreshed):
        row |= {"refreshed": totals.entry, **_cost("before", totals.before)}
    rows["accounts"].append(row)


def _entered(rows: Rows, sequence: int, told: Envelope, event: LedgerEvent) -> None:
    run = event if isinstance(event, JobLedgerEvent) else None
    limited = event if isinstance(event, BudgetLimited | BudgetQuotaSet) else None
    quota = event if isinstance(event, BudgetQuotaSet) else None
    refused = event if isinstance(event, BudgetRefused) else None
    rows["ledger"].append(
        {
            "account": event.account,
            "entry": event.entry,
            "kind": event.VERB,
            "job": run and run.job,
            "step": run and run.step,
            "attempt": run and run.attempt,
            **_cost("cost", run.cost if run else None),
            **_cost("spent", event.spent),
            **_cost("reserved", event.reserved),
            **_cost("limit", event.limit),
            **_cost("left", refused.left if refused else None),
            "epsilon": limited and limited.epsilon,
            "delta": limited and limited.delta,
            "code": refused and refused.code,
            "principal": told.principal,
            "project": told.project,
            "reason": getattr(event, "reason", None),
            "holder": quota and quota.holder,
            **_cost("quota", quota.quota if quota else None),
            "event": told.id,
            "sequence": sequence,
            "time": told.time,
        }
    )
    _account(rows, sequence, event.account, event.entry, event)
    match event:
        case BudgetReserved() | BudgetObserved() | BudgetUnbounded():
            _job(rows, sequence, event.job, JobState.QUEUED)
        case BudgetHeld():
            _job(rows, sequence, event.job, JobState.QUEUED, held=event.entry)
        case BudgetApproved() | BudgetDeclined():
            _job(rows, sequence, event.job, JobState.QUEUED, decided=event.entry, approval=event.VERB)


def _mechanisms(rows: Rows, _sequence: int, _told: Envelope, event: MechanismsRun) -> None:
    row = {"job": event.job, "step": event.step, "attempt": event.attempt, "mechanisms": event.model_dump_json(include={"mechanisms"})}
    rows["mechanisms"].append(row)


def _appended(rows: Rows, _sequence: int, _told: Envelope, record: AuditAppended) -> None:
    for e in record.entries:
        text, entry = _json(e.entry), e.entry
        row = {"place": e.index, "event": e.event, "leaf": bytes.fromhex(e.leaf), "entry": text, "outcome": _outcome_of(entry)}
        rows["audit_entries"].append({**row, **{name: str(entry.get(name, "")) for name in ("type", "principal", "time")}})
        told = f"{entry.get('subject')} {_json(entry.get('data'))}"
        rows["audit_ids"] += [{"id": each, "place": e.index} for each in sorted(set(_IDS.findall(told)))]


def _outcome_of(entry: dict[str, Any]) -> str:
    """How what an entry tells of came out, in one word of a few: of requests as they say, of other events by their name."""
    data, name = entry.get("data"), str(entry.get("subject", "")).rpartition(".")[2]
    if isinstance(data, dict) and data.get("outcome") in set(Outcome):
        return str(data["outcome"])
    return name if name in {"refused", "failed", "cancelled"} else Outcome.ALLOWED


def _signed(rows: Rows, sequence: int, told: Envelope, record: CheckpointSigned) -> None:
    rows["checkpoints"].append({"size": record.size, "note": record.note, "time": told.time, "sequence": sequence})


def _buried(rows: Rows, sequence: int, told: Envelope, letter: DeadLetter) -> None:
    original = _original(letter)
    rows["dead_letters"].append(
        {
            "letter": told.id,
            "sequence": sequence,
            "reason": letter.reason,
            "attempts": letter.attempts,
            "subject": letter.stream_subject,
            "source": told.source,
            "type": original and original.type,
            "job": _job_named(letter, original),
            "time": told.time,
            "body": letter.body,
        }
    )


def _original(letter: DeadLetter) -> Envelope | None:
    """The message that was given up, where it is one."""
    try:
        return Envelope.load(base64.b64decode(letter.body, validate=True))
    except ValueError:
        return None


def _job_named(letter: DeadLetter, original: Envelope | None) -> JobId | None:
    """The job that a letter is about: named by its content, or by the subject alone."""
    named = None if original is None else original.data.get("job")
    return named if is_job(named) else subjects.job_of_run(letter.stream_subject)


def _settled(rows: Rows, _sequence: int, _told: Envelope, event: LetterSettled) -> None:
    rows["letter_ends"].append({"letter": event.letter, "how": event.how.value, "replayed_as": event.job})


def _repaired(rows: Rows, _sequence: int, told: Envelope, event: BusRepaired) -> None:
    rows["repairs"].append({"id": told.id, "part": event.part, "stream": event.stream, "messages": event.messages, "time": told.time})


FOLDS: dict[type[Message], Callable[[Rows, int, Envelope, Any], None]] = {
    JobAccepted: _accepted,
    JobStarted: _started,
    **dict.fromkeys(ENDS, _ended),
    DatasetRegistered: _registered,
    DatasetVersionAdded: _version_added,
    DatasetProfiled: _profiled,
    SchemaAttested: _attested,
    DatasetDeleted: _deleted,
    **{kind: _entered for kind in EVENTS if issubclass(kind, LedgerEvent)},
    MechanismsRun: _mechanisms,
    AuditAppended: _appended,
    CheckpointSigned: _signed,
    DeadLetter: _buried,
    LetterSettled: _settled,
    BusRepaired: _repaired,
}
"""What is done with each type of message. A mechanism's start is in its job's story, and says no more than that."""
