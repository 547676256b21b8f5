"""Which Halftone is meant, and with which token: told, in the environment, or found in a home on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from halftone.client.errors import NotConfigured

DEFAULT_HOME = Path(".halftone")
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what a server listens on, not what we do
"""Addresses to listen on that are none to connect to, and what reaches them from the same machine."""


@dataclass(frozen=True)
class Access:
    """Where a Halftone listens, and what opens it."""

    url: str
    token: str


def locate(
    url: str | None = None,
    token: str | None = None,
    home: str | Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Access:
    """Find address and token: as given, else of the home given, else HALFTONE_URL and HALFTONE_TOKEN, else of HALFTONE_HOME or ./.halftone.

    A home's token is used for the address in that home alone: it is sent nowhere else. Raises NotConfigured, saying what is missing.
    """
    if home is None and url is None:
        url = environment.get("HALFTONE_URL")
    token = token or environment.get("HALFTONE_TOKEN")
    if url is not None:
        if not token:
            raise NotConfigured(f"There is no token for {url}: give one, or set HALFTONE_TOKEN.")
        return Access(url.rstrip("/"), token)
    directory = Path(home or environment.get("HALFTONE_HOME") or DEFAULT_HOME).expanduser()
    return Access(home_url(directory), token or environment.get("HALFTONE_ADMIN_TOKEN") or _token(directory))


def home_url(home: Path) -> str:
    """Where the Halftone of a home listens, or listened last. Raises NotConfigured."""
    try:
        edge = json.loads((home / "run" / "edge.json").read_text())
        host, port = str(edge["host"]), int(edge["port"])
    except FileNotFoundError:
        raise NotConfigured(
            f"No Halftone ever ran on {home}: start one with 'halftone up --home {home}', or say where one is with HALFTONE_URL"
            " and HALFTONE_TOKEN."
        ) from None
    except PermissionError:
        raise NotConfigured(f"{home} belongs to another user: ask for an address and a token of your own.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotConfigured(f"{home / 'run' / 'edge.json'} cannot be read ({error}): start Halftone again on this home.") from None
    host = _ANYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _token(home: Path) -> str:
    try:
        return (home / "admin-token").read_text().strip()
    except OSError:
        raise NotConfigured(f"{home} holds no token that may be read: set HALFTONE_TOKEN.") from None
