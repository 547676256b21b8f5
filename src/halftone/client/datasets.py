"""Datasets: brought in, described, looked at, deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from contracts.schema import DatasetSchema, TableSchema
from contracts.views import DatasetVersionView, DatasetView
from halftone.client.answers import Deleted, NamedSource, NamedSources, Rows, Schema
from halftone.client.download import fetched, format_of, saved, table_request
from halftone.client.errors import ResultMissing
from halftone.client.faces import Awaiting, Blocking, Items, Part, iteration, operation
from halftone.client.flow import Core, Flow, ask
from halftone.client.following import Progress, ended, require_completed
from halftone.client.handles import Seed, asking, handing
from halftone.client.reading import Dataset, dataset_id, fetch, pages, parsed
from halftone.client.request import FilePart, Request, get
from halftone.client.tables import Source, arrow_table, file_part

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Declaration = DatasetSchema | TableSchema | Schema | Mapping[str, Any]
"""A schema: of the contracts, as it was answered, or as JSON has it (of one table, or with ``tables``)."""
Reading = Mapping[str, str | bool]
"""How a file is to be read, where that is not to be detected: format, delimiter, quote, encoding, sheet, header."""
Place = Mapping[str, str]
"""Where the server is to get rows: path; sql and query; or store and key."""
_SLOWEST = 300.0
"""Seconds that an upload may stand still."""


def schema_json(schema: Declaration) -> Any:
    """A schema as it is sent."""
    if isinstance(schema, Schema):
        return schema.declaration()
    return schema.model_dump(mode="json", exclude_none=True) if isinstance(schema, BaseModel) else dict(schema)


def _form(name: str | None, schema: Declaration | None, read: Reading | None) -> dict[str, str]:
    """What is said of an upload beside its file."""
    form = {option: str(value).lower() if isinstance(value, bool) else value for option, value in (read or {}).items()}
    if name is not None:
        form["name"] = name
    if schema is not None:
        form["schema"] = json.dumps(schema_json(schema))
    return form


def _sent(core: Core, file: FilePart, form: Mapping[str, str]) -> Flow[dict[str, Any]]:
    key = asking("", {}).headers
    request = Request("POST", "/v1/datasets", headers=key, form=form, file=file, seconds=_SLOWEST)
    registered: dict[str, Any] = (yield from ask(core, request)).json()
    core.saw(registered.get("sequence"))
    return registered


def _named(
    core: Core, source: Mapping[str, str], name: str | None, schema: Declaration | None, read: Reading | None
) -> Flow[dict[str, Any]]:
    said = {option: value in {True, "true"} if option == "header" else value for option, value in (read or {}).items()}
    declared = None if schema is None else schema_json(schema)
    body = {"source": dict(source), "read": said, "name": name, "schema": declared}
    registered: dict[str, Any] = (yield from ask(core, asking("/v1/datasets", body))).json()
    core.saw(registered.get("sequence"))
    return registered


def _seen(core: Core, dataset: str) -> Flow[DatasetView]:
    return (yield from fetch(core, DatasetView, get(f"/v1/datasets/{dataset}", min_seq=core.min_seq)))


def _latest(core: Core, dataset: Dataset) -> Flow[DatasetVersionView]:
    """The newest version. Raises ResultMissing."""
    view = yield from _seen(core, dataset_id(dataset))
    if not view.versions:
        raise ResultMissing(f"Dataset {view.id} has no rows: it is {view.state}.")
    return view.versions[-1]


def _table(core: Core, dataset: Dataset) -> Flow[bytes]:
    version = yield from _latest(core, dataset)
    return (yield from fetched(core, table_request(dataset_id(dataset), version.version, "parquet")))


def _changed(core: Core, dataset: Dataset, changes: dict[str, Any]) -> Flow[DatasetView]:
    return (yield from fetch(core, DatasetView, Request("PATCH", f"/v1/datasets/{dataset_id(dataset)}", body=changes)))


class _Datasets(Part):
    """Datasets, by id or by what was answered about them."""

    @operation
    def upload(
        self,
        source: Source,
        *,
        name: str | None = None,
        schema: Declaration | None = None,
        filename: str | None = None,
        read: Reading | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Flow[DatasetView]:
        """Bring a table in, and wait until its rows are there.

        The source is a path (CSV, also compressed, Parquet, JSON lines, a workbook), the bytes of such a file, an Arrow table or a pandas
        frame; ``filename`` names bytes, ``read`` says how to read them where that is not to be detected.
        A schema is attested in the name of whose token this is. Raises JobFailed where the file is not
        a table: its fields say line and column.
        """
        registered = yield from _sent(self.core, file_part(source, filename), _form(name, schema, read))
        require_completed((yield from ended(self.core, str(registered["job"]), progress, timeout)))
        return (yield from _seen(self.core, str(registered["dataset"])))

    @handing
    def begin_upload(
        self,
        source: Source,
        *,
        name: str | None = None,
        schema: Declaration | None = None,
        filename: str | None = None,
        read: Reading | None = None,
    ) -> Flow[Seed]:
        """Bring a table in, and give the job that does so at once, without waiting for it."""
        return str((yield from _sent(self.core, file_part(source, filename), _form(name, schema, read)))["job"])

    @operation
    def fetch(
        self,
        source: Place,
        *,
        name: str | None = None,
        schema: Declaration | None = None,
        read: Reading | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Flow[DatasetView]:
        """Have the server bring a table in from where it can reach it, and wait until its rows are there.

        The source is ``{"path": …}``, a file that the server may read; ``{"sql": name, "query": …}``, one SELECT to a database that its
        settings name; or ``{"store": name, "key": …}``, a file in an object store that they name. Raises JobFailed where there are no rows.
        """
        registered = yield from _named(self.core, source, name, schema, read)
        require_completed((yield from ended(self.core, str(registered["job"]), progress, timeout)))
        return (yield from _seen(self.core, str(registered["dataset"])))

    @handing
    def begin_fetch(
        self, source: Place, *, name: str | None = None, schema: Declaration | None = None, read: Reading | None = None
    ) -> Flow[Seed]:
        """Have the server bring a table in, and give the job that does so at once, without waiting for it."""
        return str((yield from _named(self.core, source, name, schema, read))["job"])

    @operation
    def sources(self) -> Flow[tuple[NamedSource, ...]]:
        """Databases and object stores that the server's settings name."""
        return (yield from fetch(self.core, NamedSources, get("/v1/sources"))).items

    @iteration
    def list(self, *, limit: int | None = None) -> Items[DatasetView]:
        """Datasets, the newest first."""
        return Items(pages(self.core, DatasetView, "/v1/datasets", limit=limit, min_seq=self.core.min_seq))

    @operation
    def get(self, dataset: Dataset) -> Flow[DatasetView]:
        """Where a dataset stands, and its versions."""
        return (yield from _seen(self.core, dataset_id(dataset)))

    @iteration
    def versions(self, dataset: Dataset) -> Items[DatasetVersionView]:
        """A dataset's versions, oldest first."""
        return Items(pages(self.core, DatasetVersionView, f"/v1/datasets/{dataset_id(dataset)}/versions"))

    @operation
    def schema(self, dataset: Dataset) -> Flow[Schema]:
        """The attested schema; else the proposed one, for those with the right to raw data."""
        return (yield from fetch(self.core, Schema, get(f"/v1/datasets/{dataset_id(dataset)}/schema")))

    @operation
    def draft_schema(self, dataset: Dataset) -> Flow[dict[str, Any]]:
        """A proposal: ``schema``, and in ``guesses`` what each part of it was taken from and what a person should check."""
        drafted: dict[str, Any] = (yield from ask(self.core, get(f"/v1/datasets/{dataset_id(dataset)}/schema:draft"))).json()
        return drafted

    @operation
    def attest(self, dataset: Dataset, schema: Declaration) -> Flow[Schema]:
        """Say that a schema, its categories and bounds, is public knowledge: entered in the name of whose token this is."""
        request = Request("PUT", f"/v1/datasets/{dataset_id(dataset)}/schema", body=schema_json(schema))
        return (yield from fetch(self.core, Schema, request))

    @operation
    def profile(self, dataset: Dataset) -> Flow[dict[str, Any]]:
        """Counts, ranges and departures from the schema: for those with the right to raw data."""
        profile: dict[str, Any] = (yield from ask(self.core, get(f"/v1/datasets/{dataset_id(dataset)}/profile"))).json()
        return profile

    @operation
    def sample(self, dataset: Dataset, *, rows: int = 20) -> Flow[Rows]:
        """A few rows, always the same: of a real dataset, for those with the right to raw data."""
        return (yield from fetch(self.core, Rows, get(f"/v1/datasets/{dataset_id(dataset)}/sample", rows=rows)))

    @operation
    def table(self, dataset: Dataset) -> Flow[pa.Table]:
        """The rows of the latest version, as an Arrow table."""
        return arrow_table((yield from _table(self.core, dataset)))

    @operation
    def to_pandas(self, dataset: Dataset) -> Flow[pd.DataFrame]:
        """The rows of the latest version, as a pandas frame."""
        return arrow_table((yield from _table(self.core, dataset))).to_pandas()

    @operation
    def save(self, dataset: Dataset, path: str | Path) -> Flow[Path]:
        """Save the rows of the latest version as Parquet, CSV, JSON lines or a workbook, as the path ends."""
        form = format_of(Path(path))
        version = yield from _latest(self.core, dataset)
        return (yield from saved(self.core, table_request(dataset_id(dataset), version.version, form), Path(path)))

    @operation
    def rename(self, dataset: Dataset, name: str) -> Flow[DatasetView]:
        """Call a dataset by another name."""
        return (yield from _changed(self.core, dataset, {"name": name}))

    @operation
    def keep(self, dataset: Dataset, days: int | None) -> Flow[DatasetView]:
        """Have a dataset deleted so many days after its registration; None: keep it."""
        return (yield from _changed(self.core, dataset, {"retention_days": days}))

    @operation
    def delete(self, dataset: Dataset, *, cascade: bool = False) -> Flow[Deleted]:
        """Remove rows for good; with ``cascade`` also what was made from them. Raises Conflict while something depends on it."""
        request = Request("DELETE", f"/v1/datasets/{dataset_id(dataset)}", {"cascade": str(cascade).lower()})
        deleted = parsed(Deleted, (yield from ask(self.core, request)).json())
        self.core.saw(deleted.sequence)
        return deleted


class Datasets(_Datasets, Blocking):
    """Datasets, in a program that blocks."""


class AsyncDatasets(_Datasets, Awaiting):
    """Datasets, in a program that awaits."""
