"""Opaque ids: a prefix that says of what, and 32 hex digits that say nothing but (in the first twelve) when.

They are safe as subject tokens, file names and URL segments, and sort by the time they were made.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from typing import Annotated

from pydantic import StringConstraints


def _id(prefix: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^{prefix}_[0-9a-f]{{32}}$")


JobId = Annotated[str, _id("job")]
DatasetId = Annotated[str, _id("ds")]
ObjectId = Annotated[str, _id("obj")]
AccountId = Annotated[str, _id("acc")]
ProjectId = Annotated[str, _id("prj")]
PrincipalId = Annotated[str, _id("prn")]
TokenId = Annotated[str, _id("tok")]
RequestId = Annotated[str, _id("req")]
ResourceId = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}_[0-9a-f]{32}$")]
"""Any of the above."""
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
"""A signing key, by the first four bytes of a hash of its name and public part (C2SP signed-note)."""
MessageId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A word of a closed vocabulary (an engine, a step, an error code): never free text."""

_JOB = re.compile(r"job_[0-9a-f]{32}")
DEFAULT_PROJECT: ProjectId = "prj_" + "0" * 32
ADMINISTRATOR: PrincipalId = "prn_" + "0" * 32
SYSTEM: PrincipalId = "prn_" + "f" * 32
"""Who asks when nobody did: a timer, a repair."""
UNKNOWN: PrincipalId = "prn_" + "e" * 32
"""Who asks when nobody knows: a request without a valid token."""


def new_id(prefix: str) -> str:
    """A fresh id. Twelve hex digits of milliseconds since 1970, then 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def derived_id(prefix: str, *causes: str) -> str:
    """The same id for the same causes, so that a retry names what the first run named."""
    return f"{prefix}_{uuid.uuid5(_NAMESPACE, chr(0).join(causes)).hex}"


def is_job(named: object) -> bool:
    """Whether this is the id of a job."""
    return isinstance(named, str) and _JOB.fullmatch(named) is not None


def new_message_id() -> MessageId:
    return str(uuid.uuid4())


def derived_message_id(causation: str, handler: str, n: int) -> MessageId:
    """The id of the n-th message that a handler makes of a cause: the same again on a retry."""
    return str(uuid.uuid5(_NAMESPACE, f"{causation}\0{handler}\0{n}"))


_NAMESPACE = uuid.UUID("6f1c1f4e-4b0a-5a5e-9a55-68616c66746f")
