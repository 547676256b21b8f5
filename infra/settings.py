"""Settings: where state lives and what to talk to, from the environment and the command line, nowhere else."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from contracts.jobs import JobKind
from infra.home import Home
from infra.sources.named import Sources, SqlSources, StoreSources

MIB = 1 << 20


_LIMIT = re.compile(r"([a-z]+)=(\d*):(\d*)")


def _limits(given: str) -> dict[JobKind, tuple[int | None, int | None]]:
    """Limits by kind. Raises ValueError."""
    found = {}
    for part in filter(None, given.split(",")):
        match = _LIMIT.fullmatch(part.strip())
        if match is None or match[1] not in set(JobKind):
            raise ValueError(f"{part!r} must be kind=bytes:seconds, as in synthesize=8589934592:3600")
        found[JobKind(match[1])] = int(match[2]) if match[2] else None, int(match[3]) if match[3] else None
    return found


class Settings(BaseModel):
    """Every setting, with its environment variable ``HALFTONE_<NAME>`` in capitals."""

    # What is refused may be a secret: errors name the setting, and do not quote it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    home: Path = Field(default=Path(".halftone"), description="directory that holds all state")
    host: str = Field(default="127.0.0.1", description="address the HTTP edge listens on")
    port: int = Field(default=8787, ge=0, le=65535, description="port of the HTTP edge; 0 picks a free one")
    nats_port: int = Field(default=0, ge=0, le=65535, description="port of the embedded broker; 0 picks a free one once, and keeps it")
    admin_token: str | None = Field(default=None, min_length=16, description="administrator's token; absent: one is made at first start")
    database_url: str = Field(default="", description="Postgres that holds all tables, a schema per actor; empty: SQLite in the home")
    nats_url: str = Field(default="", description="broker that runs elsewhere; empty: one is run in the home")
    slots: int = Field(default=2, ge=1, le=64, description="jobs that one executor runs at a time")
    warm_workers: int = Field(default=1, ge=0, le=64, description="worker processes that an executor keeps started ahead of the next job")
    worker_idle_seconds: int = Field(default=300, ge=1, description="seconds without a job after which these leave")
    job_memory_bytes: int = Field(default=0, ge=0, description="most memory that a job's process may hold, in bytes; 0: no limit")
    job_seconds: int = Field(default=0, ge=0, description="longest that one attempt at a job may take; 0: no limit")
    job_limits: str = Field(
        default="", description="other limits for kinds of jobs: kind=bytes:seconds, separated by commas; what is left out holds as above"
    )
    max_upload_bytes: int = Field(default=1024 * MIB, ge=1, description="largest upload, in bytes as sent")
    max_table_bytes: int = Field(default=4096 * MIB, ge=1, description="largest upload, in bytes once decompressed")
    max_columns: int = Field(default=1000, ge=1, description="most columns a table may have")
    max_uploads: int = Field(default=8, ge=1, description="uploads that are taken at a time, over all tokens")
    max_streams: int = Field(default=1000, ge=1, description="event streams that are open at a time, over all tokens")
    max_requests: int = Field(default=500, ge=1, description="requests of one token that are open at a time, streams included")
    max_jobs: int = Field(default=5000, ge=1, description="jobs of one project that are under way at a time")
    read_paths: str = Field(default="", description="directories from which datasets may be made of files, separated by ':'; empty: none")
    sql_sources: SqlSources = Field(default={}, repr=False, description="databases that datasets may be made from, by name: JSON")
    object_sources: StoreSources = Field(default={}, repr=False, description="object stores that datasets may be made from, by name: JSON")
    sql_seconds: int = Field(default=600, ge=1, le=86_400, description="seconds that a query may take, its rows read")
    signing_key: str | None = Field(
        default=None, repr=False, description="private key of the log, base64; absent: one is made and kept in the home"
    )
    checkpoint_to: str = Field(
        default="", description="file, directory or https address that gets the log's signed checkpoints; empty: none"
    )
    checkpoint_every: float = Field(default=60.0, ge=0.05, le=86_400, description="seconds between two of them, while the log grows")
    checkpoint_hosts: str = Field(default="", description="hosts that may get them over http or at a private address, separated by ','")
    keep_logs_days: int = Field(default=0, ge=0, le=36_500, description="days after a job's end when its log is removed; 0: with its data")
    outbox_days: int = Field(default=30, ge=1, description="days for which messages that were sent are kept, should the broker lose them")
    inbox_days: int = Field(default=60, ge=1, description="days for which it is known which messages were handled")
    most_lag: int = Field(default=5_000, ge=1, description="messages that a view or the log may be behind before the edge is not ready")
    metrics_open: bool = Field(default=False, description="whether /metrics needs no token")
    otlp_endpoint: str = Field(
        default="", pattern=r"^(https?://[^\s]+)?$", description="base URL of an OpenTelemetry collector (OTLP over HTTP); empty: no traces"
    )
    log_level: str = Field(default="warning", pattern="^(debug|info|warning|error)$", description="least severe log line that is written")

    @field_validator("read_paths")
    @classmethod
    def _absolute(cls, given: str) -> str:
        for name in filter(None, given.split(os.pathsep)):
            if not Path(name).is_absolute():
                raise ValueError(f"{name!r} must be an absolute path")
        return given

    @field_validator("signing_key")
    @classmethod
    def _private_keys(cls, given: str | None) -> str | None:
        for text in given.split(",") if given else []:
            try:
                size = len(base64.b64decode(text.strip(), validate=True))
            except ValueError:
                size = 0
            if size != 32:
                # Without what was given: it may be a secret, misspelt.
                raise ValueError("must be 32 bytes in base64; after a comma, the key that the log was signed with before")
        return given

    @field_validator("checkpoint_to")
    @classmethod
    def _reachable(cls, given: str) -> str:
        if not given or ("://" not in given and Path(given).is_absolute()):
            return given
        address = urlsplit(given)
        if address.scheme == "https" and address.hostname and not address.username:
            return given
        if address.scheme != "http":
            raise ValueError("must be an absolute path, or an address that begins with https:// and holds no password")
        return given

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        address = urlsplit(self.checkpoint_to)
        if address.scheme == "http" and address.hostname not in self.checkpoint_hosts.split(","):
            raise ValueError(f"checkpoint_to: http is not guarded; use https, or name {address.hostname!r} in HALFTONE_CHECKPOINT_HOSTS")
        return self

    @model_validator(mode="after")
    def _known_for_longer(self) -> Self:
        # What is sent again must be known again.
        if self.inbox_days < self.outbox_days:
            raise ValueError(f"inbox_days ({self.inbox_days}) must be at least outbox_days ({self.outbox_days})")
        return self

    @field_validator("job_limits")
    @classmethod
    def _known(cls, given: str) -> str:
        _limits(given)
        return given

    def job_limit(self, kind: JobKind) -> tuple[int, int]:
        """Bytes and seconds that a job of a kind may use; 0 is without a limit."""
        memory, seconds = _limits(self.job_limits).get(kind, (None, None))
        return self.job_memory_bytes if memory is None else memory, self.job_seconds if seconds is None else seconds

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, given: str) -> str:
        if given and not given.startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://; leave it out for SQLite")
        return given.replace("postgres://", "postgresql://", 1)

    @field_validator("nats_url")
    @classmethod
    def _nats(cls, given: str) -> str:
        if given and not given.startswith(("nats://", "tls://")):
            raise ValueError("must begin with nats:// or tls://")
        return given

    def database_of(self, name: str) -> str:
        """Where an actor's tables are, or the edge's."""
        if not self.database_url:
            return Home(self.home).database_url(name)
        # SQLAlchemy takes half a second to import, and the command line reads settings too.
        from infra.database.engine import schema_url  # noqa: PLC0415

        return schema_url(self.database_url, name)

    def opened(self) -> tuple[Path, ...]:
        """The directories of ``read_paths``, symbolic links followed; reads the file system."""
        return tuple(Path(name).resolve() for name in self.read_paths.split(os.pathsep) if name)

    def sources(self) -> Sources:
        """What rows may be fetched from."""
        return Sources(sql=self.sql_sources, stores=self.object_sources, seconds=self.sql_seconds)

    @classmethod
    def load(cls, **given: object) -> Settings:
        """Read the environment; what is given (and not None) wins over it.

        Raises pydantic's ValidationError naming the setting.
        """
        known = {name: value for name in cls.model_fields if (value := os.environ.get(f"HALFTONE_{name.upper()}"))}
        settings = cls.model_validate({**known, **{k: v for k, v in given.items() if v is not None}})
        return settings.model_copy(update={"home": settings.home.expanduser().resolve()})
