"""What commands share that work on a home itself, not through its edge."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands import output, places

if TYPE_CHECKING:
    from infra.settings import Settings


def settings_of(home: Path | None, **given: object) -> Settings:
    """The settings, with options of the command line; ends with a message where one is wrong."""
    from pydantic import ValidationError

    from infra.settings import Settings

    try:
        return Settings.load(home=places.home_of(home), **given)
    except ValidationError as error:
        first = error.errors()[0]
        output.fail(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}; see docs/settings.md", output.USAGE)


@contextlib.contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Keep Halftone from starting on the home; ends the command where one runs already."""
    from infra.home import Home, HomeInUse

    home = Home(settings.home)
    if not home.path.is_dir():
        output.fail(f"{home.path} does not exist: name the home with --home", output.NOT_FOUND)
    try:
        lock = home.lock()
    except HomeInUse as error:
        output.fail(str(error))
    try:
        yield
    finally:
        os.close(lock)
