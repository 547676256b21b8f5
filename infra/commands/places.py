"""Where a command looks: flags, then the environment, then the file of settings, then ./.halftone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

DEFAULT_HOME = Path(".halftone")


def config_file() -> Path:
    """The file of settings: HALFTONE_CONFIG, or halftone/config.toml among the user's settings."""
    named = os.environ.get("HALFTONE_CONFIG")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "halftone" / "config.toml"


def config() -> dict[str, Any]:
    """What the file of settings says: ``url``, ``token`` and ``home``; nothing where there is none. Raises ValueError naming the file."""
    import tomllib

    try:
        settings = tomllib.loads(config_file().read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{config_file()} cannot be read: {error}") from error
    unknown = settings.keys() - {"url", "token", "home"}
    if unknown:
        raise ValueError(f"{config_file()}: {min(unknown)!r} is not known here; it holds url, token and home")
    return settings


def home_of(flag: Path | None) -> Path:
    """The home that is meant."""
    chosen = flag or os.environ.get("HALFTONE_HOME") or config().get("home") or DEFAULT_HOME
    return Path(chosen).expanduser()


def access_of(url: str | None, token: str | None, home: Path | None) -> tuple[str | None, str | None, Path | None]:
    """Address, token and home as the client is to be told them; None where it is to look for itself.

    The token of the file is for the address of the file: it is sent nowhere else.
    """
    token = token or os.environ.get("HALFTONE_TOKEN")
    if url or home:
        return url, token or _token_for(url), home
    if os.environ.get("HALFTONE_URL") or os.environ.get("HALFTONE_HOME"):
        return None, token or _token_for(os.environ.get("HALFTONE_URL")), None
    said = config()
    return said.get("url"), token or said.get("token"), None if said.get("url") else home_of(None)


def _token_for(url: str | None) -> str | None:
    said = config() if url else {}
    return said.get("token") if url and said.get("url") == url else None
