"""The home directory: one place for all state, one instance at a time, and the secrets that its processes share."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import SplitResult, urlsplit

from contracts.jobs import Actor
from infra.refusal import StartRefused

BUS_USERS = ("provisioner", "edge", "subscriber", "audit_reader", *(str(actor) for actor in Actor))


class Places(Protocol):
    """The settings that say where things are."""

    @property
    def home(self) -> Path: ...
    @property
    def nats_url(self) -> str: ...


class BusUnknown(StartRefused):
    """Nothing says how the broker is reached."""


class HomeInUse(RuntimeError):
    """Another instance runs on this home."""


class Home:
    """Paths below the home directory. Files with secrets have mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.databases = path / "db"
        self.objects = path / "objects"
        self.broker = path / "nats"
        self.audit = path / "audit"
        self.certificates = path / "certificates"
        self.logs = path / "logs"
        self.edge_file = path / "run" / "edge.json"
        self.admin_token = path / "admin-token"
        self.token_key_file = path / "token-key"
        self.bus_file = path / "bus.json"

    def prepare(self) -> Self:
        """Make the directories, closed to other users of the machine."""
        for directory in (
            self.path,
            self.databases,
            self.objects,
            self.broker,
            self.audit,
            self.certificates,
            self.logs,
            self.edge_file.parent,
        ):
            directory.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        return self

    def lock(self) -> int:
        """Hold the home until the process ends.

        Returns the lock's file descriptor. Raises HomeInUse.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HomeInUse(f"another halftone runs on {self.path}: stop it, or choose another --home") from None
        return descriptor

    def token(self, given: str | None) -> tuple[str, bool]:
        """The administrator's token, and whether it was made just now."""
        if given:
            return given, False
        if self.admin_token.exists():
            return self.admin_token.read_text().strip(), False
        token = "ht_" + secrets.token_urlsafe(32)
        write_secret(self.admin_token, token + "\n")
        return token, True

    def token_key(self) -> bytes:
        """The key under which tokens are hashed, 32 bytes: made once. Without it every token that was given out is void."""
        if not self.token_key_file.exists():
            write_secret(self.token_key_file, secrets.token_hex(32) + "\n")
        return bytes.fromhex(self.token_key_file.read_text().strip())

    def edge_url(self) -> str:
        """Where the edge of a running system listens. Raises FileNotFoundError where none ran."""
        host, port = self.edge_address()
        return f"http://{host}:{port}"

    def edge_address(self) -> tuple[str, int]:
        """Host and port of the edge. Raises FileNotFoundError where none ran."""
        edge = json.loads(self.edge_file.read_text())
        return edge["host"], edge["port"]

    def database_url(self, name: str) -> str:
        return f"sqlite:///{self.databases / name}.sqlite"


class BusAccess:
    """Port and credentials of the broker: made once, kept, read by every process of the home."""

    def __init__(self, host: str, port: int, passwords: dict[str, str]) -> None:
        self.host, self.port, self.passwords = host, port, passwords
        self.elsewhere: SplitResult | None = None
        """The broker that a setting names."""

    @classmethod
    def of(cls, settings: Places) -> BusAccess:
        """How the processes of a home reach the broker: that of the home, or the one that a setting names, under the same passwords.

        Raises BusUnknown where neither is known.
        """
        home = Home(settings.home)
        elsewhere = urlsplit(settings.nats_url) if settings.nats_url else None
        if home.bus_file.exists():
            access = cls.load(home)
        elif elsewhere is not None and elsewhere.username:
            access = cls(elsewhere.hostname or "", elsewhere.port or 4222, {})
        else:
            raise BusUnknown(f"{home.bus_file} does not exist: start Halftone on this home first, or give a user in HALFTONE_NATS_URL")
        access.elsewhere = elsewhere
        return access

    @classmethod
    def load(cls, home: Home) -> BusAccess:
        """Read what ``halftone up`` wrote. Raises FileNotFoundError where it never ran."""
        return cls(**json.loads(home.bus_file.read_text()))

    @classmethod
    def ensure(cls, home: Home, port: int) -> BusAccess:
        """Make port and passwords the first time; a given port replaces the kept one."""
        if home.bus_file.exists():
            access = cls.load(home)
            # A home of an older version lacks users that came later.
            for user in set(BUS_USERS) - set(access.passwords):
                access.passwords[user] = secrets.token_urlsafe(24)
        else:
            access = cls("127.0.0.1", port, {user: secrets.token_urlsafe(24) for user in BUS_USERS})
        access.port = port or access.port
        access.save(home)
        return access

    def save(self, home: Home) -> None:
        write_secret(home.bus_file, json.dumps({"host": self.host, "port": self.port, "passwords": self.passwords}, indent=1) + "\n")

    def url(self, user: str) -> str:
        """The URL with which a user connects; it holds the password."""
        if self.elsewhere is not None:
            place = self.elsewhere.netloc
            return f"{self.elsewhere.scheme}://{place if self.elsewhere.username else f'{user}:{self.passwords[user]}@{place}'}"
        return f"nats://{user}:{self.passwords[user]}@{self.host}:{self.port}"


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    # Two instances may write the same at once: each has a draft of its own, and the last one stays.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123  # the mode must hold from the start
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
