"""JSON bodies: read once, by pydantic, straight from the bytes; what is wrong names its parameter."""

from __future__ import annotations

from typing import Any, ClassVar

from litestar._openapi.schema_generation import SchemaCreator
from litestar.dto import AbstractDTO, DTOConfig
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from pydantic import TypeAdapter, ValidationError

from api.problems import BodyNotJson, ContentTypeWrong, invalid


def parse(adapter: TypeAdapter[Any], content: bytes, hints: dict[str, str], tags: frozenset[str] = frozenset()) -> Any:
    """Read a JSON document. Raises BodyNotJson or RequestInvalid."""
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        if found[0]["type"] == "json_invalid":
            raise BodyNotJson(f"The body is not JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}.") from None
        raise invalid(found, hints, tags) from None


def require_plain(encoding: str | None) -> None:
    """Refuse a body that is compressed as a whole: what it comes to is not known before it is read. Raises ContentTypeWrong."""
    if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
        raise ContentTypeWrong(f"The body must not be compressed as a whole (Content-Encoding: {encoding[:80]!r}); a file in it may be.")


class JsonBody(AbstractDTO[Any]):
    """How a handler's ``data`` is read. ``json_body`` makes one per type."""

    adapter: ClassVar[TypeAdapter[Any]]
    hints: ClassVar[dict[str, str]]
    tags: ClassVar[frozenset[str]]
    model_type = object

    def decode_bytes(self, value: bytes) -> Any:
        """Read the body. Raises ContentTypeWrong, BodyNotJson or RequestInvalid."""
        require_plain(self.asgi_connection.headers.get("content-encoding"))
        given = self.asgi_connection.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if given != "application/json" and not given.endswith("+json"):
            raise ContentTypeWrong(f"The body must be application/json, not {given[:80]!r}.")
        return parse(self.adapter, value, self.hints, self.tags)

    @classmethod
    def create_for_field_definition(cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None) -> None:
        """Nothing to prepare: pydantic reads the bytes."""

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: SchemaCreator) -> Reference | Schema:  # noqa: ARG003
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Any:  # noqa: ARG003
        """No field is left out or renamed, so that none is listed."""
        return iter(())

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:  # noqa: ARG003
        return False


def json_body(kind: Any, hints: dict[str, str] | None = None, tags: frozenset[str] = frozenset()) -> type[JsonBody]:
    """The reader of a handler's body, for the type that the handler declares; see ``problems.invalid`` for hints and tags."""
    attributes = {"adapter": TypeAdapter(kind), "hints": hints or {}, "tags": tags, "config": DTOConfig(), "__slots__": ()}
    return type("JsonBody", (JsonBody,), attributes)
