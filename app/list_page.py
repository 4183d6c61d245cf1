"""Pages of lists that go by ids, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID


class _Entry(Protocol):
    @property
    def id(self) -> UUID: ...


EntryT = TypeVar("EntryT", bound=_Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage(Generic[EntryT]):
    """A page of a list.

    Attributes:
        next: The id of the last entry, after which the next page begins; None on the last page.
    """

    entries: Sequence[EntryT]
    next: UUID | None

    @classmethod
    def of(cls, found: Sequence[EntryT], limit: int) -> "ListPage[EntryT]":
        """Make a page of at most `limit` entries from a search for one entry more."""
        return cls(entries=found[:limit], next=found[limit - 1].id if len(found) > limit else None)
