"""What a look at the measurements brings up: errors that refuse the request, and hints that go with the answer."""

from dataclasses import dataclass, field

from app.errors import FieldError, InvalidArgument


@dataclass(slots=True)
class Findings:
    """Collects while the parts are looked at, so that all errors are told at once.

    Attributes:
        left_out: Hints about whole groups that cannot lead to a position.
        hints: Everything else a caller should know; no identifiers, no positions.
        has_wrong_checksum: Whether a frame goes out although its checksum is wrong.
    """

    errors: list[FieldError] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    has_wrong_checksum: bool = False

    def refuse(self, pointer: str, code: str, detail: str) -> None:
        """Note a malformed field; `pointer` is relative to `/measurements`."""
        self.errors.append(FieldError(pointer=f"/measurements{pointer}", code=code, detail=detail))

    def leave_out(self, reason: str) -> None:
        """Note why a well-formed group is not sent."""
        self.left_out.append(reason)

    def hint(self, text: str) -> None:
        """Note what would improve the answer."""
        self.hints.append(text)

    def raise_errors(self) -> None:
        """Refuse the request if anything in it is malformed.

        Raises:
            InvalidArgument: With all errors found.
        """
        if self.errors:
            raise InvalidArgument("The measurements are malformed.", errors=tuple(self.errors))
