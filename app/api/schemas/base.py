"""What all bodies of requests have in common: how they are named, and how JSON is read."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, PydanticUseDefault, core_schema

from app.instants import read_instant


def _to_instant(value: Any) -> Any:
    at = read_instant(value, zone=None) if isinstance(value, str) else None
    if at is None:
        raise PydanticCustomError("instant", "must be an instant with its offset from UTC, as 2026-03-02T08:14:55Z")
    return at


Instant = Annotated[AwareDatetime, BeforeValidator(_to_instant)]
"""An instant in UTC, from any unambiguous text (`app.instants`)."""


class Schema(BaseModel):
    """A body: members are camelCase, unknown ones are refused, and types are not converted into each other.

    `null` is the same as absent for every optional member, and a number without a fraction is an integer however it
    is written (`300.0`, `3e2`), as JSON Schema has it.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler, /) -> CoreSchema:
        """Build the validator, with the two rules in every member."""
        schema = handler(source)
        fields: Any = handler.resolve_ref_schema(schema)
        while fields["type"] != "model-fields":  # inside the validators of the whole model
            fields = fields["schema"]
        for field in fields["fields"].values():
            field["schema"] = _read_as_json(field["schema"])
        return schema


def _read_as_json(schema: Any) -> Any:
    """Apply the rules to the schema of one member; a schema that has them already stays as it is."""
    match schema:
        case {"type": "int"}:
            return _from_any_number(schema)
        case {"type": "list"}:
            return {**schema, "items_schema": _read_as_json(schema["items_schema"])}
        case {"type": "default"}:
            inner = _read_as_json(schema["schema"])
            return {**schema, "schema": inner if _takes_null(inner) else _or_null(inner)}
        case {"type": "nullable" | "function-after" | "function-wrap"}:
            return {**schema, "schema": _read_as_json(schema["schema"])}
    return schema


def _takes_null(schema: Any) -> bool:
    match schema:
        case {"type": "nullable"}:
            return True
        case {"type": "function-after" | "function-wrap"}:
            return _takes_null(schema["schema"])
    return False


def _or_null(schema: Any) -> CoreSchema:
    return core_schema.no_info_after_validator_function(_to_default, core_schema.nullable_schema(schema))


def _to_default(value: Any) -> Any:
    if value is None:
        raise PydanticUseDefault
    return value


def _from_any_number(schema: Any) -> CoreSchema:
    """Read a number, then the integer that it has to be; documented as an integer, and without a call into Python."""
    number = core_schema.float_schema(strict=True, allow_inf_nan=False)
    integer = {**schema, "strict": False}
    return core_schema.lax_or_strict_schema(
        lax_schema=schema, strict_schema=core_schema.chain_schema([number, integer])
    )
