"""What travels on the bus (AsyncAPI), as a document and as a page that loads nothing from elsewhere."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from litestar import Response, Router, get

import contracts
from api.auth import VERB
from api.policy import Verb

DOCUMENT = Path(contracts.__file__).parent / "asyncapi.json"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;background:#f5f5f5;padding:1rem}"
    "section{border-top:1px solid #ccc;padding:.5rem 0}h3{margin:.5rem 0}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}pre{background:#1c1c1c}}"
)
CLOSED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Content-Type-Options": "nosniff"}
"""The page needs no script and no other address, and may have none."""


@cache
def document() -> bytes:
    """The document as it is checked in."""
    return DOCUMENT.read_bytes()


@cache
def page() -> str:
    """The document, to be read: streams, then each subject with who sends and who receives, then each message with its fields."""
    told = json.loads(document())
    info = told["info"]
    streams = "".join(
        f"<li><code>{escape(s['name'])}</code>: <code>{escape(' '.join(s['subjects']))}</code></li>" for s in told["x-halftone-streams"]
    )
    channels = "".join(_channel(name, channel, told["operations"]) for name, channel in told["channels"].items())
    messages = "".join(_message(name, message) for name, message in told["components"]["messages"].items())
    schemas = "".join(_schema(name, schema) for name, schema in told["components"]["schemas"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(info['title'])}: the bus</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(info['title'])}: the bus</h1><p>{escape(info['description'])}</p>"
        f'<p><a href="/asyncapi.json">The AsyncAPI {escape(told["asyncapi"])} document</a></p><h2>Streams</h2><ul>{streams}</ul>'
        f"<h2>Subjects</h2>{channels}<h2>Messages</h2>{messages}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _channel(name: str, channel: dict[str, Any], operations: dict[str, Any]) -> str:
    here = [o for o in operations.values() if o["channel"]["$ref"] == f"#/channels/{name}"]
    parts = {action: ", ".join(sorted(o["tags"][0]["name"] for o in here if o["action"] == action)) for action in ("send", "receive")}
    links = ", ".join(f'<a href="#{escape(message)}">{escape(message)}</a>' for message in channel["messages"])
    said = f"{links}, from {escape(parts['send'])} to {escape(parts['receive'] or 'operators')}"
    return f"<section><h3><code>{escape(channel['address'])}</code></h3><p>{said}</p></section>"


def _message(name: str, message: dict[str, Any]) -> str:
    shown = json.dumps(message["payload"], indent=2)
    return (
        f'<section id="{escape(name)}"><h3><code>{escape(name)}</code></h3><p>{escape(message["summary"])}</p>'
        f"<details><summary>payload</summary><pre>{escape(shown)}</pre></details></section>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    return f"<details><summary><code>{escape(name)}</code></summary><pre>{escape(json.dumps(schema, indent=2))}</pre></details>"


@get(
    "/asyncapi.json",
    media_type="application/json",
    operation_id="getAsyncApi",
    summary="The description of the bus",
    opt={VERB: Verb.SYSTEM_READ},
)
async def described() -> Response[bytes]:
    """Subjects, messages and their schemas as an AsyncAPI document: what a subscriber may rely on."""
    return Response(document(), media_type="application/json")


@get(
    "/asyncapi",
    media_type="text/html",
    operation_id="readAsyncApi",
    summary="The description of the bus, to be read",
    opt={VERB: Verb.SYSTEM_READ},
)
async def shown() -> Response[str]:
    """The same as a page, which loads nothing from elsewhere."""
    return Response(page(), media_type="text/html", headers=CLOSED)


router = Router("/", route_handlers=[described, shown], tags=["system"])
