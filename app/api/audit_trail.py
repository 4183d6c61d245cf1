"""Audit rows about requests."""

from starlette.requests import Request

from app.api.access import caller_of
from app.api.gateway import gateway_of, request_id_of
from app.errors import GatewayError
from app.storage.audit import Action, NewAudit, new_row


def row_about(
    request: Request,
    action: Action,
    outcome: str,
    *,
    account: str | None = None,
    device: str | None = None,
    provider: str | None = None,
    report_id: str | None = None,
    subject: str | None = None,
) -> NewAudit:
    """Make a row about what a request did, with its key and id."""
    return new_row(
        caller_of(request).key_id,
        request_id_of(request),
        action,
        outcome,
        account=account,
        device=device,
        provider=provider,
        report_id=report_id,
        subject=subject,
    )


class AuditTrail:
    """Leaves an audit row about the block, with its outcome, before the answer is sent.

    What happened has happened: where the row cannot be written, that is counted and logged, not told to the caller.
    """

    def __init__(
        self, request: Request, action: Action, *, account: str | None = None, subject: str | None = None
    ) -> None:
        self._request = request
        self._action: Action = action
        self._account = account
        self._subject = subject

    async def __aenter__(self) -> None:
        """Begin."""

    async def __aexit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        """Write down how it ended."""
        outcome = "done" if error is None else error.code if isinstance(error, GatewayError) else GatewayError.code
        row = row_about(self._request, self._action, outcome, account=self._account, subject=self._subject)
        await gateway_of(self._request).journal.keep_if_possible(row)
