"""Query parameters that several routes share, and the Idempotency-Key header."""

import re
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import parse_qsl
from uuid import UUID

import pydantic
from fastapi import Query
from pydantic import BeforeValidator
from starlette.requests import Request
from starlette.types import Scope

from app.api.problems import to_pointer
from app.api.schemas.base import Instant
from app.errors import FieldError, InvalidArgument, NotFound, UnsupportedIdentifier
from app.ids import parse_id
from app.periodic import Key

Limit = Annotated[int, Query(ge=1, le=1000, description="entries per page")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the previous page")]
IDEMPOTENCY_KEY = "Idempotency-Key"
_LONGEST_KEY = 255
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED = re.compile(r'\\(["\\])')


def _restore_plus(text: Any) -> Any:
    # An unescaped plus sign in a query string stands for a space.
    return re.sub(r" (?=[0-9]{2}:[0-9]{2}$)", "+", text) if isinstance(text, str) else text


QueryInstant = Annotated[Instant | None, BeforeValidator(_restore_plus)]
Since = Annotated[QueryInstant, Query(description="at or after this instant, RFC 3339 with offset")]
Until = Annotated[QueryInstant, Query(description="before this instant, RFC 3339 with offset")]


def refuse_nul(scope: Scope) -> None:
    """Refuse NUL characters in the address, which Postgres does not take in any text.

    Raises:
        NotFound: The path has one.
        InvalidArgument: A query parameter has one.
    """
    if "\x00" in scope["path"]:
        raise NotFound("Nothing exists at this path; /docs lists the routes.")
    if b"%00" in scope["query_string"]:
        sent = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        names = dict.fromkeys(name.partition("\x00")[0] for name, value in sent if "\x00" in name + value)
        detail = "must not contain NUL characters"
        errors = tuple(
            FieldError(pointer=to_pointer(("query", name[:64])), code="INVALID_FORMAT", detail=detail) for name in names
        )
        raise InvalidArgument("Some parameters are not valid.", errors=errors)


def refuse_unknown(request: Request, known: Iterable[str], *, repeatable: Iterable[str] = ()) -> None:
    """Refuse query parameters that the route does not know, so that no filter is misspelt or overruled unnoticed.

    Args:
        repeatable: Those that may be there several times.

    Raises:
        InvalidArgument: There is one, or one several times.
    """
    sent = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, times in sent.items() if times > 1 and name not in repeatable and name in known]
    if twice:
        raise InvalidArgument(
            "A query parameter is repeated.",
            errors=tuple(
                FieldError(pointer=to_pointer(("query", name)), code="CONFLICT", detail="send it once")
                for name in twice
            ),
        )
    names = sorted(sent.keys() - set(known))
    if names:
        detail = f"is not a parameter of this path; known are: {', '.join(sorted(known))}"
        errors = tuple(
            FieldError(pointer=to_pointer(("query", name[:64])), code="UNKNOWN_FIELD", detail=detail) for name in names
        )
        raise InvalidArgument("Some query parameters are unknown.", errors=errors)


def foreign_number() -> UnsupportedIdentifier:
    """Make the error about a number in a path that cannot be an MDN."""
    detail = "must be +1 and ten digits; ThingSpace knows no other numbers"
    field = FieldError(pointer="/path/identifier", code="UNSUPPORTED", detail=detail)
    return UnsupportedIdentifier("The number cannot be an MDN.", errors=(field,))


def id_of(text: str, what: str) -> UUID:
    """Read an id from a path.

    Raises:
        NotFound: It has not the form of an id, so there cannot be such a thing.
    """
    key = parse_id(text)
    if key is None:
        raise NotFound(f"There is no such {what}.")
    return key


def place_of(cursor: str | None) -> UUID | None:
    """Read a cursor that is the id of the last entry of the previous page.

    Raises:
        InvalidArgument: It is none of ours.
    """
    if cursor is None:
        return None
    key = parse_id(cursor)
    if key is None:
        field = FieldError(pointer="/query/cursor", code="INVALID_FORMAT", detail="must be `next` of the previous page")
        raise InvalidArgument("The cursor is not valid.", errors=(field,))
    return key


def idempotency_key(request: Request, body: pydantic.BaseModel) -> Key | None:
    """Read the idempotency key of a request whose body is `body`; None if it has none.

    The IETF draft has a quoted string; a bare one is accepted too.

    Bodies that mean the same have the same fingerprint, however they are written.

    Raises:
        InvalidArgument: The key is malformed.
    """
    sent = request.headers.getlist(IDEMPOTENCY_KEY)
    if not sent:
        return None
    text = _text(sent)
    fingerprint = sha256(body.model_dump_json(by_alias=True).encode()).digest()
    return Key(owner=request.scope["caller"].key_id, text=text, fingerprint=fingerprint)


def _text(sent: list[str]) -> str:
    text = sent[0].strip()
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        text = _ESCAPED.sub(r"\1", quoted[1]) if quoted else ""
    if len(sent) > 1 or len(text) > _LONGEST_KEY or not _PRINTABLE.fullmatch(text):
        detail = f"must be one string of 1 to {_LONGEST_KEY} printable ASCII characters, in quotes or without"
        field = FieldError(pointer=IDEMPOTENCY_KEY, code="INVALID_FORMAT", detail=detail)
        raise InvalidArgument("The Idempotency-Key is malformed.", errors=(field,))
    return text
