"""The Idempotency-Key header, as the IETF draft has it: a quoted string; a bare one is taken, too."""

import re
from hashlib import sha256

import pydantic
from starlette.requests import Request

from app.errors import FieldError, InvalidArgument
from app.periodic import Key

HEADER = "Idempotency-Key"

_LONGEST = 255
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED = re.compile(r'\\(["\\])')


def key_of(request: Request, body: pydantic.BaseModel) -> Key | None:
    """Read the key of a request whose body is `body`; None when it has none.

    Bodies that mean the same have the same fingerprint, however they are written.

    Raises:
        InvalidArgument: The key is malformed.
    """
    sent = request.headers.getlist(HEADER)
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
    if len(sent) > 1 or len(text) > _LONGEST or not _PRINTABLE.fullmatch(text):
        detail = f"must be one string of 1 to {_LONGEST} printable ASCII characters, in quotes or without"
        field = FieldError(pointer=HEADER, code="INVALID_FORMAT", detail=detail)
        raise InvalidArgument("The Idempotency-Key is malformed.", errors=(field,))
    return text
