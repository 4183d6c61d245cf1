"""Sessions as they go over the wire."""

from typing import cast

import orjson

from app.api.answers import ProblemAnswer
from app.api.problems import status_of, to_problem
from app.api.rendering import instant
from app.api.report_rendering import to_report
from app.api.schemas.periodic import (
    LastFix,
    SessionAnswer,
    SessionDeviceAnswer,
    SessionDeviceState,
    SessionState,
    StopAnswer,
    StopFailureAnswer,
    StoppedAnswer,
)
from app.errors import GatewayError
from app.ids import public_id
from app.periodic import DeviceView, SessionView, StopFailure, Stopped, StoredAnswer
from app.reports import ReportRecord


class SessionAnswerWriter:
    """Renders the outcomes of one request."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def accepted(self, session: SessionView) -> StoredAnswer:
        """Write 202 with the session."""
        return StoredAnswer(status=202, body=orjson.dumps(to_session(session)), session_id=session.id)

    def refused(self, error: GatewayError) -> StoredAnswer:
        """Write the problem."""
        return StoredAnswer(status=status_of(error), body=orjson.dumps(to_problem(error, self._request_id)))

    def doubtful(self, error: GatewayError, session: SessionView) -> StoredAnswer:
        """Write the problem with the session, so that the caller can follow it."""
        problem = to_problem(error, self._request_id) | {"session": to_session(session)}
        return StoredAnswer(status=status_of(error), body=orjson.dumps(problem), session_id=session.id)


def to_session(view: SessionView) -> SessionAnswer:
    """Write a session with its counts."""
    row, counts = view.row, view.counts
    return {
        "id": public_id(row.id),
        "transactionId": row.transaction_id,
        "state": cast("SessionState", row.state),
        "account": row.account,
        "interval": row.interval_s,
        "count": row.count,
        "unlimited": row.count is None,
        "startDelay": row.start_delay_s,
        "maxAge": row.max_age_s,
        "devices": {"total": row.devices_total},
        "reports": {
            "expected": None if row.count is None else row.count * row.devices_total,
            "due": counts.due,
            "received": counts.received,
            "failed": counts.failed,
            "missing": counts.missing,
            "ended": counts.ended,
        },
        "createdAt": instant(row.created_at),
        "startedAt": instant(row.started_at) if row.started_at else None,
        "endsAt": instant(row.ends_at) if row.ends_at else None,
        "endedAt": instant(row.ended_at) if row.ended_at else None,
        "stopRequestedAt": instant(row.stop_requested_at) if row.stop_requested_at else None,
        "problem": cast("ProblemAnswer | None", row.problem),
    }


def to_session_device(view: DeviceView) -> SessionDeviceAnswer:
    """Write a device of a session."""
    row, counts = view.row, view.counts
    return {
        "device": {"imei": row.device, "mdn": row.mdn},
        "state": cast("SessionDeviceState", view.state),
        "received": counts.received,
        "failed": counts.failed,
        "due": counts.due,
        "missing": counts.missing,
        "ended": counts.ended,
        "lastFix": None if view.last is None else _to_last_fix(view.last),
        "stopRequestedAt": instant(row.stop_requested_at) if row.stop_requested_at else None,
        "stoppedAt": instant(row.stopped_at) if row.stopped_at else None,
        "stopFailedAt": instant(row.stop_failed_at) if row.stop_failed_at else None,
        "endedAt": instant(row.ended_at) if row.ended_at else None,
        "lastError": to_report(view.last_error)["error"] if view.last_error is not None else None,
    }


def _to_last_fix(report: ReportRecord) -> LastFix | None:
    location = to_report(report)["location"]
    return None if location is None else {**location, "reportId": public_id(report.id)}


def to_stopped(stopped: Stopped, request_id: str) -> StoppedAnswer:
    """Write a session and the outcome of stopping it."""
    stop: StopAnswer = {
        "requested": stopped.requested,
        "accepted": stopped.accepted,
        "failed": [_to_failure(failure, request_id) for failure in stopped.failures],
    }
    return {**to_session(stopped.session), "stop": stop}


def _to_failure(failure: StopFailure, request_id: str) -> StopFailureAnswer:
    return {"imei": failure.imei, "mdn": failure.mdn, "problem": to_problem(failure.error, request_id)}
