"""A broker and an edge, without actors: what they would say, the test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from nats.aio.client import Client

from api.server import run_edge
from contracts import subjects
from contracts.base import Message
from contracts.envelope import Context, Envelope
from contracts.events import DatasetVersionAdded, JobCompleted, JobStarted, Origin
from contracts.ids import SYSTEM, DatasetId, JobId, MessageId, new_id
from contracts.jobs import Output
from contracts.schema import ColumnSchema, ColumnType, DatasetSchema, TableSchema
from infra.bus.connection import connect, jetstream
from infra.bus.provision import provision
from infra.bus.server import NatsServer
from infra.home import BusAccess, Home
from infra.hosting import READY_DESCRIPTOR
from infra.objects import Objects
from infra.settings import Settings

TOKEN = "ht_a-token-for-the-tests"
LARGEST_UPLOAD = 300_000
CSV = b"age,city\n41,Bern\n29,Basel\n"


class System:
    """One home, its broker, and its edge."""

    def __init__(self, home: Home, broker: NatsServer, **settings: Any) -> None:
        self.home, self.broker = home, broker
        self.settings = Settings(home=home.path, port=0, admin_token=TOKEN, max_upload_bytes=LARGEST_UPLOAD, **settings)
        self.objects = Objects(home.objects)
        self.bus: Client
        self.http: httpx.AsyncClient
        self._edge: asyncio.Task[None]

    async def start(self) -> None:
        """Start the edge, and wait until it serves."""
        with readiness() as (descriptor, ready):
            os.environ[READY_DESCRIPTOR] = str(descriptor)
            try:
                self._edge = asyncio.create_task(run_edge(self.settings))
                await asyncio.wait({self._edge, ready}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                del os.environ[READY_DESCRIPTOR]
        if self._edge.done():
            self._edge.result()
        self.http = httpx.AsyncClient(base_url=self.home.edge_url(), headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)

    async def stop(self) -> None:
        """Stop the edge as the supervisor does."""
        os.kill(os.getpid(), signal.SIGTERM)
        await self._edge
        await self.http.aclose()

    async def say(self, message: Message, message_id: MessageId | None = None, context: Context | None = None) -> int:
        """Publish what an actor would. Gives its sequence."""
        envelope = Envelope.wrap(message, context or Context.new(SYSTEM), source="/actors/test", message_id=message_id)
        return await self.publish(envelope)

    async def publish(self, envelope: Envelope) -> int:
        ack = await jetstream(self.bus).publish(envelope.subject, envelope.dump(), headers={"Nats-Msg-Id": envelope.id})
        return ack.seq

    async def stored(self, stream: str, about: str) -> list[Envelope]:
        """What a stream holds about something, in order."""
        js = jetstream(self.bus)
        state = (await js.stream_info(stream)).state
        found = [Envelope.load((await js.get_msg(stream, n)).data or b"") for n in range(state.first_seq, state.last_seq + 1)]
        return [envelope for envelope in found if about in json.dumps(envelope.data)]

    async def sent(self, about: str, count: int = 1) -> list[Envelope]:
        """Commands about something, once there are as many."""
        await eventually(lambda: self._holds(about, count))
        return await self.stored(subjects.COMMANDS, about)

    async def _holds(self, about: str, count: int) -> bool:
        return len(await self.stored(subjects.COMMANDS, about)) >= count

    async def problem(self, response: httpx.Response, status: int, code: str) -> dict[str, Any]:
        """The document of a response that must be this problem."""
        document: dict[str, Any] = response.json()
        assert (response.status_code, document.get("code")) == (status, code), response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert document["status"] == status
        assert document["type"] == f"urn:halftone:problem:{code}"
        assert document["title"]
        assert document["detail"]
        return document

    async def noop(self) -> dict[str, Any]:
        """A job that was accepted."""
        response = await self.http.post("/v1/jobs", json={"kind": "noop"})
        assert response.status_code == 202, response.text
        return dict(response.json())

    async def upload(self, content: bytes = b"", **data: str) -> dict[str, Any]:
        """A dataset that was registered; of content that no other has, unless some is given."""
        content = content or CSV + os.urandom(8).hex().encode()
        response = await self.http.post("/v1/datasets", files={"file": ("people.csv", content)}, data=data)
        assert response.status_code == 202, response.text
        return dict(response.json())

    async def ingest(self, dataset: DatasetId, job: JobId, schema: TableSchema | None = None) -> int:
        """Say what the ingestor says at the end of its job. Gives the sequence."""
        table = self.objects.put(new_id("obj"), b"PAR1", "application/vnd.apache.parquet", ".parquet")
        proposal = self.objects.put(new_id("obj"), DatasetSchema(tables=(schema or people(),)).model_dump_json().encode())
        await self.say(JobStarted(job=job, attempt=1))
        await self.say(DatasetVersionAdded(dataset=dataset, version=1, origin=Origin.REAL, table=table, proposal=proposal, job=job))
        return await self.say(JobCompleted(job=job, attempt=1, outputs=(Output(role="table", object=table),)))

    async def ready(self, schema: TableSchema | None = None, *, attested: bool = True) -> DatasetId:
        """A dataset with rows and, unless said otherwise, an attested schema."""
        registered = await self.upload()
        dataset = str(registered["dataset"])
        sequence = await self.ingest(dataset, registered["job"], schema)
        response = await self.http.get(f"/v1/datasets/{dataset}?min_seq={sequence}")
        assert response.json()["state"] == "ready"
        if attested:
            content = (schema or people()).model_dump_json(exclude_none=True)
            response = await self.http.put(f"/v1/datasets/{dataset}/schema", content=content, headers={"Content-Type": "application/json"})
            assert response.status_code == 200, response.text
        return dataset


@contextlib.contextmanager
def readiness() -> Iterator[tuple[int, asyncio.Future[None]]]:
    """A descriptor for a process to say on that it serves, and what is done once it has said so."""
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(ours, lambda: ready.done() or ready.set_result(None))
    try:
        yield theirs, ready
    finally:
        loop.remove_reader(ours)
        ready.cancel()
        os.close(ours)
        os.close(theirs)


async def eventually(look: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    """Look again until it is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110  # what is looked at is another process's
            await asyncio.sleep(0.01)


def people() -> TableSchema:
    """A schema whose domains are declared."""
    age = ColumnSchema(name="age", type=ColumnType.INTEGER, minimum=0, maximum=120)
    city = ColumnSchema(name="city", type=ColumnType.CATEGORICAL, categories=("Basel", "Bern"))
    return TableSchema(name="people", columns=(age, city))


@contextlib.asynccontextmanager
async def launched(directory: Path, **settings: Any) -> AsyncIterator[System]:
    """A broker, its streams, and an edge under these settings."""
    home = Home(directory).prepare()
    broker = NatsServer(home, BusAccess.ensure(home, 0))
    await broker.start()
    system = System(home, broker, **settings)
    try:
        system.bus = await connect(broker.access.url("provisioner"), "provisioner")
        await provision(jetstream(system.bus))
        await system.start()
        yield system
        await system.stop()
        await system.bus.close()
    finally:
        await broker.stop()


@pytest_asyncio.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[System]:
    """A broker and an edge for one test, which may break them."""
    async with launched(tmp_path) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """One broker and one edge for the tests of a module: each test uses jobs and datasets of its own."""
    async with launched(tmp_path_factory.mktemp("home")) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """An edge with little room."""
    async with launched(tmp_path_factory.mktemp("small"), max_uploads=1, max_streams=2, max_requests=8, max_jobs=12) as system:
        yield system
