"""What a look at the measurements brings up: errors that refuse the request, and hints that go with the answer."""

from dataclasses import dataclass, field

from app.errors import FieldError, InvalidArgument

_MOST_NAMED = 10
_MOST_ERRORS = 100


@dataclass(slots=True)
class Findings:
    """Collects errors and hints of all parts, so that they are reported together.

    All pointers that are handed in are relative to `/measurements`.

    Attributes:
        errors: What is malformed, and refuses the request.
        left_out: Why whole groups cannot lead to a position.
        omitted: Entries of lists that are left out, by their group and the reason.
        unusable: The fields for which something was left out; errors when nothing else can be used.
        hints: Everything else a caller should know; no identifiers, no positions.
        has_wrong_checksum: Whether a frame goes out although its checksum is wrong.
    """

    errors: list[FieldError] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    omitted: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    unusable: list[FieldError] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    has_wrong_checksum: bool = False

    def refuse(self, pointer: str, code: str, detail: str) -> None:
        """Note a malformed field."""
        self.errors.append(_field(pointer, code, detail))

    def leave_out(self, reason: str, pointer: str, code: str) -> None:
        """Note why a well-formed group is not sent; `reason` begins with the group's name and a colon."""
        self.left_out.append(reason)
        self._note_unusable(pointer, code, reason.partition(": ")[2])

    def omit(self, group: str, entry: str, member: str, code: str, reason: str) -> None:
        """Note why one entry of a list is not sent, and which of its members is at fault."""
        self.omitted.setdefault((group, reason), []).append(f"/measurements{entry}")
        self._note_unusable(f"{entry}/{member}", code, reason)

    def hint(self, text: str) -> None:
        """Note what would improve the answer."""
        self.hints.append(text)

    def all_hints(self) -> tuple[str, ...]:
        """Write all that a caller should know, what was left out first."""
        omitted = [f"{group}: left out {_named(entries)}: {why}" for (group, why), entries in self.omitted.items()]
        return (*self.left_out, *omitted, *self.hints)

    def raise_errors(self) -> None:
        """Refuse the request if anything in it is malformed.

        Raises:
            InvalidArgument: With all errors found.
        """
        if self.errors:
            raise InvalidArgument("The measurements are malformed.", errors=tuple(self.errors))

    def _note_unusable(self, pointer: str, code: str, detail: str) -> None:
        if len(self.unusable) < _MOST_ERRORS:
            self.unusable.append(_field(pointer, code, detail))


def _field(pointer: str, code: str, detail: str) -> FieldError:
    return FieldError(pointer=f"/measurements{pointer}", code=code, detail=detail)


def _named(entries: list[str]) -> str:
    more = len(entries) - _MOST_NAMED
    return ", ".join(entries[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
