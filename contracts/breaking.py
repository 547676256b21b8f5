"""What breaks a version: whether a message's schema may take another's place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

JsonObject = dict[str, Any]

_ANNOTATIONS = {"$defs", "$id", "$schema", "title", "description", "default"}
_FLOORS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_CEILINGS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_COMPARED = {*_ANNOTATIONS, *_FLOORS, *_CEILINGS, "type", "enum", "const", "items", "properties", "required"}


def breaking(old: JsonObject, new: JsonObject) -> list[str]:
    """Why a schema cannot take another's place within one version, a line each; none if it can.

    Two promises: what was written under the old one is read for ever, and what its readers rely on stays. So fields are only added,
    with a default; limits are only widened; a vocabulary (an enum, or the members of a tagged union) only grows.
    """
    return list(_changed("", _inlined(old, old.get("$defs", {})), _inlined(new, new.get("$defs", {}))))


def _inlined(node: Any, definitions: JsonObject, within: tuple[str, ...] = ()) -> Any:
    """The schema with each reference replaced by what it names, but for one to a model that it is part of."""
    if isinstance(node, list):
        return [_inlined(child, definitions, within) for child in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str) and reference not in within:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return {**_inlined(definitions[reference.rsplit("/", 1)[1]], definitions, (*within, reference)), **beside}
    return {key: _inlined(child, definitions, within) for key, child in node.items() if key != "$defs"}


def _changed(path: str, old: JsonObject, new: JsonObject) -> Iterator[str]:
    before, after = _branches(old), _branches(new)
    if len(before) == len(after) == 1:
        yield from _changed_one(path, before[0], after[0])
        return
    new_kinds = list(after)
    for branch in before:
        trials = [(candidate.get("type") != branch.get("type"), list(_changed_one(path, branch, candidate))) for candidate in after]
        closest = min(trials, key=lambda trial: (trial[0], len(trial[1])))
        yield from closest[1]
        taken = [candidate for candidate, trial in zip(after, trials, strict=True) if trial is closest or not trial[1]]
        new_kinds = [candidate for candidate in new_kinds if candidate not in taken]
    # A tagged union may gain members, as an enum may gain values.
    tagged = [member for union in (new, *new.get("anyOf", ())) for member in union.get("oneOf", ())]
    yield from (f"{path or '/'}: takes another type, {branch.get('type', 'any')}" for branch in new_kinds if branch not in tagged)


def _branches(node: JsonObject) -> list[JsonObject]:
    inner = node.get("anyOf") or node.get("oneOf")
    return [node] if inner is None else [branch for each in inner for branch in _branches(each)]


def _changed_one(path: str, old: JsonObject, new: JsonObject) -> Iterator[str]:
    where = path or "/"
    if old.get("type") != new.get("type"):
        yield f"{where}: type changed from {old.get('type', 'any')} to {new.get('type', 'any')}"
        return
    yield from _changed_values(where, old, new)
    for keyword in _FLOORS:
        if keyword in new and (keyword not in old or new[keyword] > old[keyword]):
            yield f"{where}: {keyword} raised from {old.get(keyword)} to {new[keyword]}"
    for keyword in _CEILINGS:
        if keyword in new and (keyword not in old or new[keyword] < old[keyword]):
            yield f"{where}: {keyword} lowered from {old.get(keyword)} to {new[keyword]}"
    for keyword in sorted((old.keys() | new.keys()) - _COMPARED):
        if old.get(keyword) != new.get(keyword):
            yield f"{where}: {keyword} changed from {old.get(keyword)} to {new.get(keyword)}"
    if "items" in old and "items" in new:
        yield from _changed(f"{path}/*", old["items"], new["items"])
    yield from _changed_fields(path, old, new)


def _changed_values(where: str, old: JsonObject, new: JsonObject) -> Iterator[str]:
    before, after = _values(old), _values(new)
    if before is None and after is not None:
        yield f"{where}: takes certain values alone"
    elif before is not None and after is None:
        yield f"{where}: is no closed vocabulary any more"
    elif before is not None and after is not None and before - after:
        yield f"{where}: no longer takes {', '.join(sorted(before - after))}"


def _values(node: JsonObject) -> set[str] | None:
    listed = [node["const"]] if "const" in node else node.get("enum")
    return None if listed is None else {json.dumps(value) for value in listed}


def _changed_fields(path: str, old: JsonObject, new: JsonObject) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    required, was_required = set(new.get("required", ())), set(old.get("required", ()))
    for name in sorted(after.keys() - before.keys() & required):
        yield f"{path}/{name}: new, and without a default"
    for name, field in before.items():
        if name not in after:
            yield f"{path}/{name}: removed"
            continue
        if name in required - was_required:
            yield f"{path}/{name}: has no default any more"
        elif name not in was_required and field.get("default") != after[name].get("default"):
            yield f"{path}/{name}: default changed from {field.get('default')} to {after[name].get('default')}"
        yield from _changed(f"{path}/{name}", field, after[name])
