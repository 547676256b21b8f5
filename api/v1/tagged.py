"""Answers with an ETag: who has what would be answered is told so, and not sent it again (RFC 9110, sections 8.8.3 and 13.1.2)."""

from __future__ import annotations

import hashlib
from typing import Any

from litestar import Response
from pydantic import BaseModel

from api.v1.files import holds
from api.v1.parameters import Asked


def tagged(request: Asked, content: BaseModel, headers: dict[str, str] | None = None) -> Response[Any]:
    """A view as JSON, or 304 for a client that has it.

    The tag is a hash of the answer: names, progress and rights change what is answered without any event whose sequence could say so.
    """
    body = content.model_dump_json().encode()
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    # The rights to it are asked for each time, also where the client has a copy.
    told = {**(headers or {}), "ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if holds(request.headers.get("if-none-match"), tag):
        return Response(b"", status_code=304, headers=told)
    return Response(body, media_type="application/json", headers=told)
