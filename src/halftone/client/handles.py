"""Jobs as handles: wait for them, follow them, end them, and take what they made."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, overload

from contracts.jobs import EvaluateSpec, IngestSpec, SampleSpec, SynthesizeSpec
from contracts.views import JobEventView, JobView
from halftone.client.download import fetched, format_of, saved, table_request
from halftone.client.errors import ResultMissing
from halftone.client.faces import Awaiting, Blocking, Items, Part, iteration, operation
from halftone.client.flow import Core, Flow, ask
from halftone.client.following import Progress, Seen, ended, look, require_completed, told
from halftone.client.request import Request, get
from halftone.client.tables import arrow_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

P = ParamSpec("P")
Seed = str | Seen
"""What a handle is made of: an id, or a job as it was seen."""


class handing(Generic[P]):  # noqa: N801  # a decorator
    """A method that gives a job's handle, of the kind that belongs to its face."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[Seed]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, face: Blocking, owner: type) -> Callable[P, Job]: ...
    @overload
    def __get__(self, face: Awaiting, owner: type) -> Callable[P, Awaitable[AsyncJob]]: ...
    @overload
    def __get__(self, face: None, owner: type) -> handing[P]: ...
    def __get__(self, face: Blocking | Awaiting | None, owner: type) -> Any:
        if face is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return _handed(face, self.flow(face, *args, **kwargs))

        return functools.wraps(self.flow)(call)


def _handed(face: Blocking | Awaiting, flow: Flow[Seed]) -> Any:
    if isinstance(face, Blocking):
        return Job(face.core, face.driver, face.driver.run(flow))
    driver = face.driver

    async def handle() -> AsyncJob:
        return AsyncJob(face.core, driver, await driver.run(flow))

    return handle()


class _Job(Part):
    """One run of one kind."""

    _seen: Seen | None = None
    id: str

    def _start(self, seed: Seed) -> None:
        self._seen = None if isinstance(seed, str) else seed
        self.id = seed if isinstance(seed, str) else seed.view.id

    @property
    def view(self) -> JobView | None:
        """The job as it was last seen; None before the first look."""
        return self._seen.view if self._seen else None

    @property
    def dataset(self) -> str | None:
        """Id of the dataset that the job makes or has made; None for a kind that makes none, and before the first look."""
        return made_by(self.view) if self.view else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.view.state if self.view else 'not looked at yet'}>"

    def _look(self) -> Flow[Seen]:
        self._seen = yield from look(self.core, self.id)
        return self._seen

    @operation
    def refresh(self) -> Flow[JobView]:
        """Look where the job stands."""
        return (yield from self._look()).view

    @handing
    def wait(self, *, progress: Progress | None = None, timeout: float | None = None) -> Flow[Seed]:
        """Wait for the job's end, and give the job once it has completed.

        ``progress`` is called with a fraction in [0, 1] and the name of the step. Raises JobFailed, JobRefused or JobCancelled where
        it ends otherwise, and WaitedTooLong after ``timeout`` seconds: the job goes on then.
        """
        self._seen = yield from ended(self.core, self.id, progress, timeout)
        return require_completed(self._seen)

    @operation
    def cancel(self) -> Flow[None]:
        """Ask for the job's end. Asking again, or too late, changes nothing."""
        yield from ask(self.core, Request("POST", f"/v1/jobs/{self.id}:cancel", body={}))

    @handing
    def retry(self) -> Flow[Seed]:
        """Ask for a new job of the same specification, where this one failed, was cancelled or refused."""
        answer = yield from ask(self.core, asking(f"/v1/jobs/{self.id}:retry", {}))
        return promised(self.core, answer.json())

    @iteration
    def events(self, *, after: int = 0) -> Items[JobEventView]:
        """The job's events from its acceptance to its end, as they happen; only those after a sequence, if one is given."""
        return Items(told(self.core, self.id, after))

    @operation
    def log(self) -> Flow[str]:
        """What the job's process said: for those with the right to raw data."""
        return (yield from ask(self.core, get(f"/v1/jobs/{self.id}/log"))).text()

    def _completed(self) -> Flow[JobView]:
        seen = self._seen if self._seen and self._seen.view.state.terminal else (yield from self._look())
        if not seen.view.state.terminal:
            raise ResultMissing(f"Job {self.id} is {seen.view.state}: wait for it first.")
        return require_completed(seen).view

    def _output(self, role: str) -> Flow[Request]:
        view = yield from self._completed()
        for output in view.outputs:
            if output.role == role:
                return get(output.href)
        made = ", ".join(sorted({output.role for output in view.outputs})) or "nothing"
        raise ResultMissing(f"Job {self.id}, of kind {view.kind}, made no {role}; it made: {made}.")

    @operation
    def table(self) -> Flow[pa.Table]:
        """The rows that the job made, as an Arrow table."""
        return arrow_table((yield from fetched(self.core, (yield from self._output("table")))))

    @operation
    def to_pandas(self) -> Flow[pd.DataFrame]:
        """The rows that the job made, as a pandas frame."""
        content = yield from fetched(self.core, (yield from self._output("table")))
        return arrow_table(content).to_pandas()

    @operation
    def save(self, path: str | Path, *, role: str | None = None) -> Flow[Path]:
        """Save the rows as Parquet, CSV, JSON lines or a workbook, as the path ends; or another output as it is, by its role."""
        target = Path(path)
        if role is not None:
            return (yield from saved(self.core, (yield from self._output(role)), target))
        form = format_of(target)
        view = yield from self._completed()
        dataset = made_by(view)
        if form == "parquet" or dataset is None:
            return (yield from saved(self.core, (yield from self._output("table")), target))
        return (yield from saved(self.core, table_request(dataset, 1, form), target))

    @operation
    def report(self) -> Flow[dict[str, Any]]:
        """What an evaluation measured: figures, each with the floor and the ceiling between which it stands."""
        content = yield from fetched(self.core, (yield from self._output("report")))
        report: dict[str, Any] = json.loads(content)
        return report


class Job(_Job, Blocking):
    """A job, in a program that blocks."""

    def __init__(self, core: Core, driver: Any, seed: Seed) -> None:
        super().__init__(core, driver)
        self._start(seed)


class AsyncJob(_Job, Awaiting):
    """A job, in a program that awaits."""

    def __init__(self, core: Core, driver: Any, seed: Seed) -> None:
        super().__init__(core, driver)
        self._start(seed)


def made_by(view: JobView) -> str | None:
    """The dataset that a job makes: of an evaluation, the one that it measures."""
    match view.spec:
        case SynthesizeSpec(target=target) | SampleSpec(target=target):
            return target
        case IngestSpec(dataset=dataset):
            return dataset
        case EvaluateSpec(synthetic=synthetic):
            return synthetic.dataset
        case _:
            return None


def asking(path: str, body: Mapping[str, Any]) -> Request:
    """A POST that makes something: with a key of its own, so that sending it again makes nothing twice. What is None is left out."""
    stated = {name: value for name, value in body.items() if value is not None}
    return Request("POST", path, headers={"Idempotency-Key": str(uuid.uuid4())}, body=stated)


def promised(core: Core, answer: Mapping[str, Any]) -> str:
    """The id of a job that was accepted."""
    core.saw(answer.get("sequence"))
    return str(answer["id"])
