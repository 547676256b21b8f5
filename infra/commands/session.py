"""What commands that speak to a Halftone have in common: where it is, how errors are told, how a wait is shown."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from infra.commands import output, places

if TYPE_CHECKING:
    from contracts.views import JobView
    from halftone.client import Halftone, Job

P = ParamSpec("P")
_DATASET = re.compile(r"ds_[0-9a-f]{32}")

UrlOption = Annotated[str | None, typer.Option(help="Address of a Halftone; HALFTONE_URL.", show_default=False)]
TokenOption = Annotated[str | None, typer.Option(help="Token for it; HALFTONE_TOKEN.", show_default=False)]
HomeOption = Annotated[Path | None, typer.Option(help="Home of a Halftone on this machine; HALFTONE_HOME.", show_default="./.halftone")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, on a terminal too.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job's end.")]
TimeoutOption = Annotated[float | None, typer.Option(help="Seconds to wait at most; the job goes on then.", show_default="no limit")]
_COMMON: dict[str, tuple[Any, Any]] = {
    "json": (JsonOption, False),
    "url": (UrlOption, None),
    "token": (TokenOption, None),
    "home": (HomeOption, None),
}


class Session:
    """One command's conversation with one Halftone."""

    def __init__(self, connect: Callable[[], Halftone], *, as_json: bool, home: Path | None = None) -> None:
        self._connect, self.json, self.home = connect, as_json, home
        self._client: Halftone | None = None

    @property
    def client(self) -> Halftone:
        """The client; made when it is first wanted."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            self._client.close()

    def dataset(self, named: str) -> str:
        """The id of a dataset, by its id or by a name that one dataset alone has."""
        if _DATASET.fullmatch(named):
            return named
        found = [view.id for view in self.client.datasets.list() if view.name == named and view.state != "deleted"]
        if not found:
            output.fail(f"there is no dataset {named!r}: 'halftone datasets list' shows those there are", output.NOT_FOUND)
        if len(found) > 1:
            output.fail(f"{len(found)} datasets are called {named!r}: name one by its id ({', '.join(found[:3])}, ...)")
        return found[0]

    def follow(self, job: Job, timeout: float | None) -> JobView:
        """Wait for a job's end, showing how far it is; exits where it does not complete."""
        from infra.commands.waiting import shown

        output.note(f"job {job.id}")
        try:
            with shown() as progress:
                done = job.wait(progress=progress, timeout=timeout)
        except KeyboardInterrupt:
            output.note(f"the job goes on: 'halftone watch {job.id}' waits for it, 'halftone cancel {job.id}' ends it")
            raise
        return done.view or done.refresh()


def connected(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Make a command of a function: it gets a session, and the options that say with whom."""
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in _COMMON.items()
    ]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + common

    @functools.wraps(command)
    def run(**given: Any) -> None:
        said = {name: given.pop(name) for name in _COMMON}
        session = Session(functools.partial(_client, said["url"], said["token"], said["home"]), as_json=said["json"], home=said["home"])
        with told(), closing(session):
            command(session, **given)  # type: ignore[call-arg]  # what the signature says is what comes

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _client(url: str | None, token: str | None, home: Path | None) -> Halftone:
    from halftone.client import Halftone

    try:
        known_url, known_token, known_home = places.access_of(url, token, home)
    except ValueError as error:
        output.fail(str(error))
    return Halftone(known_url, known_token, home=known_home)


@contextmanager
def told() -> Iterator[None]:
    """Tell errors as people want them told, and end with the code that scripts want."""
    from halftone.client import HalftoneError, JobRefused, NotFound, Unauthorized

    try:
        yield
    except JobRefused as error:
        output.fail(f"{error.detail} ({error.code})", output.REFUSED)
    except NotFound as error:
        output.fail(error.detail, output.NOT_FOUND)
    except Unauthorized as error:
        output.fail(
            f"{error.detail} The token comes from --token, HALFTONE_TOKEN, the file of settings or the home; see 'halftone doctor'."
        )
    except HalftoneError as error:
        output.fail(error.detail if error.code == "client" else f"{error.detail} ({error.code})")
    except BrokenPipeError:
        raise typer.Exit(output.ERROR) from None
    except KeyboardInterrupt:
        raise typer.Exit(output.INTERRUPTED) from None
