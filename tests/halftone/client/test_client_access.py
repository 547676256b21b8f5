"""Which Halftone is meant; and that both clients are the same client."""

from __future__ import annotations

import inspect
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from halftone.client import Access, AsyncHalftone, AsyncJob, ConnectionFailed, Halftone, Job, NotConfigured, locate
from halftone.client.faces import iteration, operation
from halftone.client.handles import handing


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "edge.json").write_text(json.dumps({"host": "0.0.0.0", "port": 8787}))
    (tmp_path / "admin-token").write_text("ht_of-the-home\n")
    return tmp_path


def test_what_is_given_wins(home: Path) -> None:
    """Arguments before the environment, a home that is named before an address that is not."""
    environment = {"HALFTONE_URL": "http://env", "HALFTONE_TOKEN": "t-env", "HALFTONE_HOME": str(home)}
    assert locate("http://given/", "t", environment=environment) == Access("http://given", "t")
    assert locate(environment=environment) == Access("http://env", "t-env")
    assert locate(home=home, environment={}) == Access("http://127.0.0.1:8787", "ht_of-the-home")
    assert locate(environment={"HALFTONE_HOME": str(home)}) == Access("http://127.0.0.1:8787", "ht_of-the-home")


def test_a_homes_token_goes_to_that_home_alone(home: Path) -> None:
    """An address from elsewhere needs a token from elsewhere."""
    with pytest.raises(NotConfigured, match="HALFTONE_TOKEN"):
        locate("http://elsewhere", environment={"HALFTONE_HOME": str(home)})


def test_a_home_on_which_nothing_ran_says_how_to_start(tmp_path: Path) -> None:
    """The sentence holds the command."""
    with pytest.raises(NotConfigured, match=r"halftone up --home"):
        locate(home=tmp_path, environment={})


@pytest.mark.parametrize("url", ["127.0.0.1:8787", "ftp://x", "http://[::1"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(NotConfigured, match="address"):
        Halftone(url, "t")


def test_a_wrong_port_says_what_to_do() -> None:
    """Nothing listens there: no traceback of a library, a sentence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Halftone(f"http://127.0.0.1:{taken.getsockname()[1]}", "t") as client, pytest.raises(ConnectionFailed, match="halftone up"):
            client.engines()


class _Moody(BaseHTTPRequestHandler):
    """Breaks off the first POST, answers the next."""

    keys: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        self.keys.append(self.headers["Idempotency-Key"])
        self.rfile.read(int(self.headers["Content-Length"]))
        if len(self.keys) == 1:
            self.close_connection = True
            return
        self._say(202, {"id": "job_" + "0" * 32, "state": "accepted", "sequence": 7})

    def do_GET(self) -> None:
        self._say(200, {"status": "ok", "reasons": []})

    def _say(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[str]:
    _Moody.keys = []
    with HTTPServer(("127.0.0.1", 0), _Moody) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_post_that_was_broken_off_is_sent_again_under_its_key(moody: str) -> None:
    """Over real sockets: one job, though the first answer never came."""
    with Halftone(moody, "t") as client:
        assert client.health().status == "ok"
        assert client.noop().id == "job_" + "0" * 32
    assert len(_Moody.keys) == 2
    assert len(set(_Moody.keys)) == 1


async def test_the_awaiting_client_does_the_same(moody: str) -> None:
    """The same flows, carried out by another driver."""
    async with AsyncHalftone(moody, "t") as client:
        assert (await client.health()).status == "ok"
        assert (await client.noop()).id == "job_" + "0" * 32
    assert len(set(_Moody.keys)) == 1


def test_both_clients_have_every_method_from_one_body() -> None:
    """No method is written twice: what differs is how a flow is carried out."""
    with Halftone("http://x", "t") as client:
        parts = {name: part for name, part in vars(client).items() if hasattr(part, "core") and hasattr(part, "driver")}
        assert parts.keys() == {"datasets", "jobs", "models", "budgets", "evaluations", "audit", "tokens", "dead_letters"}
        pairs = [(type(client), AsyncHalftone), (Job, AsyncJob), *((type(part), _awaiting(type(part))) for part in parts.values())]
    for blocking, awaiting in pairs:
        own = {name: value for name, value in inspect.getmembers_static(blocking) if isinstance(value, operation | iteration | handing)}
        assert own
        assert all(inspect.getattr_static(awaiting, name) is value for name, value in own.items())
        assert all(value.__doc__ for value in own.values())


def _awaiting(blocking: type) -> type:
    import importlib

    return getattr(importlib.import_module(blocking.__module__), f"Async{blocking.__name__}")
