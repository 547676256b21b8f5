"""From answers to values, page by page where there are pages."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from contracts.base import Contract
from contracts.views import DatasetView
from halftone.client.errors import AnswerWrong
from halftone.client.flow import Core, Flow, Tell, ask
from halftone.client.request import Request, get

C = TypeVar("C", bound=Contract)
PAGE = 100
"""Items that are asked for at a time."""

Dataset = str | DatasetView
"""A dataset is named by its id, or by what was answered about it."""


def dataset_id(dataset: Dataset) -> str:
    return dataset if isinstance(dataset, str) else dataset.id


def parsed(kind: type[C], data: Any) -> C:
    """What was answered, as a value. Raises AnswerWrong."""
    try:
        return kind.read(data)
    except ValidationError as error:
        raise AnswerWrong(f"The answer is not the {kind.__name__} that this client knows: {error.errors()[0]['msg']}.") from error


def fetch(core: Core, kind: type[C], request: Request) -> Flow[C]:
    """Ask for one thing."""
    answer = yield from ask(core, request)
    return parsed(kind, answer.json())


def pages(core: Core, kind: type[C], path: str, /, *, limit: int | None = None, **query: Any) -> Flow[None]:
    """Tell every item of a list, following its cursor; at most ``limit`` of them."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = (yield from ask(core, get(path, **query, limit=size, cursor=cursor))).json()
        for item in page["items"]:
            yield Tell(parsed(kind, item))
        left = None if left is None else left - len(page["items"])
        cursor = page.get("next")
        if not cursor:
            return
