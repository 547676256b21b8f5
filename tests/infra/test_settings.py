"""Settings: from the environment and the command line, and errors that name the setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.jobs import JobKind
from infra.settings import Settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HALFTONE_{name.upper()}", raising=False)


def test_every_setting_has_its_environment_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HALFTONE_ and the name in capitals, for each of them."""
    given = {
        "home": str(tmp_path / "h"),
        "host": "::1",
        "port": "1",
        "nats_port": "2",
        "admin_token": "0123456789abcdef",
        "database_url": "postgresql://halftone@db.example.org/halftone",
        "nats_url": "nats://bus.example.org:4222",
        "slots": "3",
        "warm_workers": "7",
        "worker_idle_seconds": "8",
        "job_memory_bytes": "9",
        "job_seconds": "10",
        "job_limits": "ingest=1:2",
        "outbox_days": "11",
        "inbox_days": "12",
        "most_lag": "13",
        "max_upload_bytes": "4",
        "max_table_bytes": "5",
        "max_columns": "6",
        "read_paths": "/data:/more",
        "sql_sources": '{"crm": "sqlite:////data/x.db"}',
        "object_sources": '{"lake": "s3://bucket/people"}',
        "sql_seconds": "7",
        "signing_key": "A" * 43 + "=",
        "checkpoint_to": "http://witness.example/log",
        "checkpoint_every": "7.5",
        "checkpoint_hosts": "other.example,witness.example",
        "keep_logs_days": "8",
        "max_uploads": "14",
        "max_streams": "15",
        "max_requests": "16",
        "max_jobs": "17",
        "otlp_endpoint": "http://127.0.0.1:4318",
        "metrics_open": "true",
        "log_level": "debug",
    }
    assert set(given) == set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(f"HALFTONE_{name.upper()}", value)
    read = Settings.load()
    assert {name: shown(getattr(read, name)) for name in given} == given


def shown(value: object) -> str:
    """A value as its variable holds it."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value, default=lambda store: store.url)


def test_what_is_given_wins_and_what_is_not_given_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of the command line beats the environment; one that was left out, or an empty variable, says nothing."""
    monkeypatch.setenv("HALFTONE_PORT", "1111")
    monkeypatch.setenv("HALFTONE_SLOTS", "5")
    monkeypatch.setenv("HALFTONE_ADMIN_TOKEN", "")
    settings = Settings.load(port=2222, slots=None)
    assert (settings.port, settings.slots, settings.admin_token) == (2222, 5, None)


def test_the_home_is_a_full_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes with another working directory mean the same one."""
    monkeypatch.chdir(tmp_path)
    assert Settings.load().home == tmp_path / ".halftone"
    assert Settings.load(home="~/data").home == Path.home() / "data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("port", "http"),
        ("nats_port", "-1"),
        ("database_url", "mysql://db/halftone"),
        ("nats_url", "http://bus"),
        ("slots", "0"),
        ("slots", "65"),
        ("admin_token", "short"),
        ("max_upload_bytes", "0"),
        ("max_table_bytes", "-5"),
        ("max_columns", "none"),
        ("log_level", "loud"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Nothing is put right in silence, and nobody has to search."""
    monkeypatch.setenv(f"HALFTONE_{name.upper()}", value)
    with pytest.raises(ValidationError) as caught:
        Settings.load()
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_an_unknown_setting_is_an_error() -> None:
    """A mistyped option does not pass for its default."""
    with pytest.raises(ValidationError, match="prot"):
        Settings.load(prot=80)


@pytest.mark.parametrize(
    "given",
    ["relative/path", "http://witness.example/", "ftp://witness.example/", "https://", "https://ada:secret@witness.example/", "http://"],
)
def test_checkpoints_go_to_a_file_or_a_guarded_address(given: str) -> None:
    """An absolute path, https, or plain http to a host that is named."""
    with pytest.raises(ValidationError, match="checkpoint_to"):
        Settings.load(checkpoint_to=given)
    assert Settings.load(checkpoint_to="https://witness.example/log").checkpoint_to == "https://witness.example/log"
    assert Settings.load(checkpoint_to="/mnt/witness").checkpoint_to == "/mnt/witness"


def test_a_signing_key_is_checked_and_never_repeated() -> None:
    """Neither by the error nor by the settings' own description."""
    with pytest.raises(ValidationError, match="32 bytes in base64") as caught:
        Settings.load(signing_key="c2VjcmV0")
    assert "signing_key" in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)
    assert "AAAA" not in repr(Settings.load(signing_key="A" * 43 + "="))


def test_limits_of_kinds_win_over_the_general_ones() -> None:
    """What a kind leaves out holds as for all."""
    settings = Settings(job_memory_bytes=10, job_seconds=20, job_limits="synthesize=1:2, ingest=:3,export=4:")
    kinds = (JobKind.SYNTHESIZE, JobKind.INGEST, JobKind.EXPORT, JobKind.EVALUATE)
    assert [settings.job_limit(kind) for kind in kinds] == [(1, 2), (10, 3), (4, 20), (10, 20)]


@pytest.mark.parametrize("given", ["synthesize", "synthesize=8GiB:2", "fly=1:2", "ingest=1", "ingest=1:2;export=1:2"])
def test_a_limit_that_is_none_is_refused(given: str) -> None:
    """And the message shows what one looks like."""
    with pytest.raises(ValidationError, match="must be kind=bytes:seconds, as in synthesize=8589934592:3600"):
        Settings(job_limits=given)
