"""Files from object stores: a directory always, S3 where a server that speaks it can be started."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from obstore.store import from_url

from contracts.problems import ProblemError
from infra.sources import errors
from infra.sources.named import Store
from infra.sources.stores import download

CONTENT = b"age,city\n" + b"41,Bern\n" * 300_000
KEYS = {"aws_access_key_id": "hunter2", "aws_secret_access_key": "hunter2", "aws_region": "us-east-1"}

Fill = Callable[[], Store]


@pytest.fixture
def directory(tmp_path: Path) -> Store:
    """A directory with files, and one beside it."""
    (tmp_path / "lake" / "2024").mkdir(parents=True)
    (tmp_path / "lake" / "2024" / "people é.csv").write_bytes(CONTENT)
    (tmp_path / "secret.csv").write_bytes(CONTENT)
    return Store(url=f"file://{tmp_path}/lake")


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    """A bucket of moto's S3 server; its requirements do not go together with ours, so that it comes from an environment of its own."""
    program = shutil.which(os.environ.get("HALFTONE_TEST_MOTO_SERVER", "moto_server"))
    if program is None:
        pytest.skip("no moto_server on the PATH or in HALFTONE_TEST_MOTO_SERVER: S3 is not tested here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.put(f"{url}/people").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        store = Store(url="s3://people/lake", options={**KEYS, "aws_endpoint": url})
        put = from_url(store.url, config=store.options, client_options={"allow_http": True})
        put.put("2024/people é.csv", CONTENT)
        from_url("s3://people", config=store.options, client_options={"allow_http": True}).put("secret.csv", CONTENT)
        yield store
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each kind of store."""
    found: Store = request.getfixturevalue(request.param)
    return found


def got(store: Store, key: str, home: Path, most: int = 1 << 30) -> bytes:
    out = io.BytesIO()
    download(store, key, out, most=most, home=home)
    return out.getvalue()


def refused(store: Store, key: str, home: Path, most: int = 1 << 30) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        got(store, key, home, most)
    told = f"{caught.value} {''.join(traceback.format_exception(caught.value))}"
    assert "hunter2" not in told
    assert "127.0.0.1" not in told
    return caught.value


def test_a_file_is_copied_whole(store: Store, tmp_path: Path) -> None:
    """Byte for byte, under a key that is no plain word."""
    assert got(store, "2024/people é.csv", tmp_path / "home") == CONTENT


def test_a_key_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    """It is the client's own; the store's place is not said."""
    problem = refused(store, "2024/nobody.csv", tmp_path / "home")
    assert (problem.code, problem.status, "2024/nobody.csv" in str(problem)) == ("source-key-unknown", 404, True)
    assert "lake" not in str(problem)


@pytest.mark.parametrize("key", ["../secret.csv", "2024/../../secret.csv", "/etc/passwd", "..", "2024", ""])
def test_nothing_outside_is_had(store: Store, tmp_path: Path, key: str) -> None:
    """Not even by a key that got past the edge."""
    assert isinstance(refused(store, key, tmp_path / "home"), errors.KeyUnknown | errors.SourceUnreachable)


def test_a_link_that_leads_outside_and_the_home_are_not_followed(directory: Store, tmp_path: Path) -> None:
    """Whoever may write to a directory could else have any file read."""
    (tmp_path / "lake" / "link.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "lake" / "home").mkdir()
    (tmp_path / "lake" / "home" / "admin-token").write_text("hunter2")
    os.mkfifo(tmp_path / "lake" / "pipe")
    for key in ("link.csv", "home/admin-token", "pipe"):
        assert refused(directory, key, tmp_path / "lake" / "home").code == "source-key-unknown"


def test_a_file_over_the_limit_is_not_taken(store: Store, tmp_path: Path) -> None:
    """The limit is that of uploads."""
    problem = refused(store, "2024/people é.csv", tmp_path / "home", most=len(CONTENT) - 1)
    assert (problem.code, problem.fields["limit"]) == ("too-large", len(CONTENT) - 1)
    assert got(store, "2024/people é.csv", tmp_path / "home", most=len(CONTENT)) == CONTENT


def test_a_store_that_does_not_answer_can_be_tried_again(tmp_path: Path) -> None:
    """503, without its address."""
    store = Store(url="s3://people/lake", options={**KEYS, "aws_endpoint": "http://127.0.0.1:1"})
    problem = refused(store, "x.csv", tmp_path)
    assert (problem.code, problem.status) == ("source-unreachable", 503)
