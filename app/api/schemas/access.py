"""Requests and answers about API keys, and answers of the audit trail."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.access import Action, KeyPlan
from app.api.answers import Timestamp
from app.api.schemas.base import Instant, Schema
from app.api.schemas.identifiers import Account, Text128
from app.scopes import SCOPES, Scope

CLOSED = ConfigDict(extra="forbid")
_MOST_NAMED = 1000
_MOST_STARS = 8


def _check_stars(pattern: str) -> str:
    if pattern.count("*") > _MOST_STARS:
        raise PydanticCustomError(
            "too_many_stars", f"must hold at most {_MOST_STARS} `*`; list several patterns instead"
        )
    return pattern


DevicePattern = Annotated[Text128, AfterValidator(_check_stars)]


class KeyRequest(Schema):
    """The permissions and limits of a new key; members that are left out do not restrict it."""

    name: Annotated[Text128, Field(description="a name to recognise it by")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES), description="its permissions")]
    accounts: Annotated[
        list[Account] | None,
        Field(
            min_length=1,
            max_length=_MOST_NAMED,
            description="restricts the key to these accounts; it then sees nothing that has no account",
        ),
    ] = None
    devices: Annotated[
        list[DevicePattern] | None,
        Field(
            min_length=1,
            max_length=_MOST_NAMED,
            description="restricts the key to devices whose IMEI, MEID, ESN, MDN or name matches; `*` stands for any"
            " characters (at most 8 in one pattern) and `?` for one. Every identifier of a request has to match; a name"
            " counts if it is the only one",
        ),
    ] = None
    requests_per_minute: Annotated[int | None, Field(ge=1, le=1_000_000, description="most requests per minute")] = None
    daily_fixes: Annotated[int | None, Field(ge=0, le=1_000_000_000, description="most billed fixes per day (UTC)")] = (
        None
    )
    expires_at: Annotated[Instant | None, Field(description="when it stops being accepted")] = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if "admin" in self.scopes and (self.accounts is not None or self.devices is not None):
            raise PydanticCustomError("admin_unrestricted", "a key with the scope admin cannot be restricted")
        if "periodic:unlimited" in self.scopes and "periodic" not in self.scopes:
            raise PydanticCustomError("needs_periodic", "the scope periodic:unlimited needs the scope periodic, too")
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            raise PydanticCustomError("in_the_past", "expiresAt must lie in the future")
        return self

    def to_plan(self) -> KeyPlan:
        """Turn it into what is kept."""
        return KeyPlan(
            name=self.name,
            scopes=tuple(dict.fromkeys(self.scopes)),
            accounts=None if self.accounts is None else tuple(dict.fromkeys(self.accounts)),
            devices=None if self.devices is None else tuple(dict.fromkeys(self.devices)),
            rate_per_minute=self.requests_per_minute,
            daily_fixes=self.daily_fixes,
            expires_at=self.expires_at,
        )


KeyState = Literal["active", "expired", "revoked"]


@with_config(CLOSED)
class KeyAnswer(TypedDict):
    """A key, without the key itself."""

    id: str
    name: str
    prefix: Annotated[str, Field(description="the first characters of the key")]
    state: KeyState
    scopes: list[Scope]
    accounts: list[str] | None
    devices: list[str] | None
    requestsPerMinute: int | None
    dailyFixes: int | None
    createdAt: Timestamp
    rotatedAt: Timestamp | None
    expiresAt: Timestamp | None
    revokedAt: Timestamp | None


@with_config(CLOSED)
class NewKeyAnswer(KeyAnswer):
    """A new key, with the secret key itself."""

    key: Annotated[str, Field(description="the secret key; shown only now, and not stored")]


@with_config(CLOSED)
class KeysAnswer(TypedDict):
    """A page of keys, newest first."""

    keys: list[KeyAnswer]
    next: str | None


@with_config(CLOSED)
class AuditEntry(TypedDict):
    """One audited request."""

    id: str
    at: Timestamp
    key: str
    requestId: str
    action: Action
    outcome: str
    account: str | None
    device: str | None
    provider: str | None
    billed: bool | None
    reportId: str | None
    sessionId: str | None
    subject: str | None


@with_config(CLOSED)
class AuditAnswer(TypedDict):
    """A page of the audit trail, newest first."""

    entries: list[AuditEntry]
    next: str | None
