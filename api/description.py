"""The description of the API (OpenAPI) as it is served: what the framework finds in the routes, with the problems that each can answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin
from pydantic import BaseModel

from api.problems import PROBLEM_TYPE
from api.v1.bodies import Body
from contracts.problems import Problem

JsonObject = dict[str, Any]
ANYWHERE = {405: "the method is not served here", 500: "a fault of ours: the edge's log says more"}
SECURED = {
    401: "no valid token",
    403: "the token does not hold the right, which the document names",
    429: "as many of these are under way as may be: Retry-After says when to try again",
}
PARAMETERS = {422: "a parameter, or something in the body, is not what it should be: the document names it"}
BODY = {400: "the body is not JSON", 413: "the body is too large", 415: "the body is of another content type than is taken here"}
THING = {404: "there is no such thing here"}
CHANGE = {409: "the state of things does not allow it now", 410: "the dataset was deleted", 503: "not now: Retry-After says when"}
LOOK = {410: "the dataset was deleted", 503: "not now: Retry-After says when"}
FILE: JsonObject = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
DOCUMENT: JsonObject = {"content": {"application/json": {"schema": {"type": "object"}}}}
NOTHING: JsonObject = {}
_TOLD = {name: {"type": "string"} for name in ("id", "event", "data")}
EVENTS: JsonObject = {"content": {"text/event-stream": {"schema": {"type": "object", "properties": _TOLD}}}}
OTHERWISE: dict[str, dict[int, tuple[str, int | JsonObject]]] = {
    "createJob": {200: ("the job, which has ended in time", 202)},
    "setBudget": {202: ("the limit will be set: the budget as it is", 200)},
    "setQuota": {202: ("the quota will be set: those there are", 200)},
    "enterRelease": {202: ("it will be entered", NOTHING)},
    "decide": {202: ("it will be decided: the job as it is", 200)},
    "exportLedger": {200: ("the ledger", FILE)},
    "followJob": {200: ("events as they come", EVENTS)},
    "getReady": {503: ("what keeps it from serving", 200)},
    "getArtifact": {200: ("the file", FILE), 206: ("the part of it", FILE), 304: ("not again", NOTHING)},
    "getTable": {200: ("the file", FILE), 206: ("the part of it", FILE), 304: ("not again", NOTHING)},
}
OTHERWISE |= {
    name: {200: ("what would come with the file", NOTHING), 304: ("not again", NOTHING)} for name in ("headArtifact", "headTable")
}
OTHERWISE |= {name: {200: ("the document", DOCUMENT)} for name in ("getAsyncApi", "getProfile", "getEvaluation")}
OTHERWISE |= {name: {304: ("not again: the client has it", NOTHING)} for name in ("getJob", "getDataset", "getBudget", "getSchema")}
"""By operation, answers that its handler's type does not tell of: what each means, and its content, or the status that has the same."""
WRITTEN = {"getArtifact", "getTable", "headArtifact", "headTable"}
"""Operations whose file may have to be written first: they answer with its job then."""
_COLUMNS = [
    {"name": "age", "type": "integer", "minimum": 0, "maximum": 120},
    {"name": "city", "type": "categorical", "categories": ["Basel", "Bern"], "nullable": True},
]
BODIES: dict[str, JsonObject] = {
    "createDataset": {
        "path": {"source": {"path": "/data/people.csv"}, "name": "people"},
        "sql": {"source": {"sql": "crm", "query": "SELECT age, city FROM people WHERE consent"}, "name": "people"},
        "store": {"source": {"store": "lake", "key": "2024/people.csv.gz"}, "read": {"delimiter": ";"}},
    },
    "changeDataset": {"name": "customers, Q3", "retention_days": 90},
    "attestSchema": {"tables": [{"name": "people", "columns": _COLUMNS}]},
    "createJob": {"kind": "synthesize", "dataset": "ds_019a7b3c5d2e00112233445566778899", "epsilon": 1.0, "name": "people, synthetic"},
    "setBudget": {"epsilon": 3.0, "delta": 1e-9, "reason": "the committee's decision of 3 March"},
    "setQuota": {"epsilon": 1.0, "reason": "a third for the evaluation team"},
    "enterRelease": {"reason": "the histogram was shown at the conference"},
    "decide": {"reason": "agreed with the works council"},
    "previewBudget": {"epsilon": 1.0, "delta": 1e-9},
    "createToken": {"name": "Ada, evaluation team", "role": "reader", "expires": "2099-12-31T00:00:00Z"},
}
"""An example of each JSON body, by operation."""


class Description(JsonRenderPlugin):
    """Serves the completed document, made once."""

    def __init__(self) -> None:
        # The document alone: a page that shows it would load its scripts from elsewhere.
        super().__init__(path=["/", "/openapi.json"])
        self._rendered: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: JsonObject) -> bytes:
        if self._rendered is None:
            complete(openapi_schema)
            self._rendered = self.render_json(request, openapi_schema)
        return self._rendered


def complete(document: JsonObject) -> None:
    """Declare the problems of every operation, in place; also those that nobody foresaw, as its default response."""
    shared = document["components"]["schemas"]
    models: list[type[BaseModel]] = [Problem, *_models(Body)]
    for model in models:
        # As they are read: the framework describes what a body becomes, where that is not what is sent.
        described = model.model_json_schema(ref_template="#/components/schemas/{model}")
        shared |= described.pop("$defs", {})
        shared[model.__name__] = described
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            declared: JsonObject = operation["responses"]
            # The framework's own words for a wrong parameter, which nobody hears here.
            declared.pop("400", None)
            for status, (description, content) in OTHERWISE.get(operation["operationId"], {}).items():
                same = declared[str(content)] if isinstance(content, int) else content
                declared[str(status)] = {**same, "description": description}
            if operation["operationId"] in WRITTEN:
                declared["202"] = {"description": "the job that writes the file", "content": {"application/json": {"schema": {}}}}
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            example = BODIES.get(operation["operationId"])
            if body is not None and example is not None:
                # Several kinds of one body each have a name.
                body |= (
                    {"examples": {name: {"value": each} for name, each in example.items()}} if "path" in example else {"example": example}
                )
            if operation.get("security") == [{}]:
                continue
            for status, description in _problems(path, method, operation).items():
                declared[str(status)] = _answer(description)
            declared["default"] = _answer("another problem")


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if not model.__name__.startswith("_"):
            yield model
        yield from _models(model)


def _problems(path: str, method: str, operation: JsonObject) -> dict[int, str]:
    found = {**ANYWHERE, **SECURED, **(LOOK if method in {"get", "head"} else CHANGE)}
    if operation.get("parameters") or "requestBody" in operation:
        found |= PARAMETERS
    if "requestBody" in operation:
        found |= BODY
    if "{" in path or "requestBody" in operation:
        found |= THING
    return found


def _answer(description: str) -> JsonObject:
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
