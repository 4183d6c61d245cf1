"""Metrics for Prometheus; no label ever holds a position, an identifier or a secret."""

import os
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of prometheus_client: where server processes keep their metrics for each other, if there are several."""
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)

REQUESTS = Counter(
    "gateway_requests", "Requests answered, by route and status.", ("method", "route", "status"), registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "gateway_request_seconds", "Time to the answer, by route.", ("route",), buckets=_SECONDS, registry=REGISTRY
)
ATTEMPTS = Counter(
    "gateway_provider_attempts", "Attempts at providers, by outcome.", ("provider", "outcome"), registry=REGISTRY
)
ATTEMPT_SECONDS = Histogram(
    "gateway_provider_seconds", "Duration of attempts at providers.", ("provider",), buckets=_SECONDS, registry=REGISTRY
)
COOLDOWNS = Counter(
    "gateway_provider_cooldowns",
    "Times a provider began to cool down after failures.",
    ("provider",),
    registry=REGISTRY,
)
COOLING_DOWN = Gauge(
    "gateway_provider_cooling_down",
    "1 while a provider is left alone after failures.",
    ("provider",),
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
STORED_ANSWERS = Counter(
    "gateway_stored_answers", "Questions answered without a provider, by where from.", ("origin",), registry=REGISTRY
)
LATE_FIXES = Counter(
    "gateway_late_fixes",
    "Fixes that came, and were stored, after their caller's time.",
    ("provider",),
    registry=REGISTRY,
)
UNSTORED_FIXES = Counter("gateway_unstored_fixes", "Fixes that the database could not take.", registry=REGISTRY)
UNSTORED_AUDIT = Counter(
    "gateway_unstored_audit_rows", "Audit rows that the database could not take.", registry=REGISTRY
)
CALLBACKS = Counter("gateway_callbacks", "Callbacks answered, by result.", ("provider", "result"), registry=REGISTRY)
CALLBACK_SIGNATURES = Counter(
    "gateway_callback_signatures",
    "Callbacks by the verdict on their signature; none if signatures are not checked.",
    ("provider", "signature"),
    registry=REGISTRY,
)
REFUSED = Counter(
    "gateway_requests_refused", "Requests that the server refused by itself, by code.", ("code",), registry=REGISTRY
)
DELIVERIES = Counter(
    "gateway_delivery_attempts", "Attempts to deliver events to subscribers, by result.", ("result",), registry=REGISTRY
)
DELIVERED_EVENTS = Counter("gateway_events_delivered", "Events delivered to subscribers.", registry=REGISTRY)
REPORTS = Counter("gateway_reports_stored", "New reports committed.", registry=REGISTRY)
BATCH_SIZE = Histogram(
    "gateway_commit_batch_size",
    "Entries that shared one commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    registry=REGISTRY,
)
COMMIT_SECONDS = Histogram("gateway_commit_seconds", "Time of one commit.", buckets=_SECONDS, registry=REGISTRY)
QUEUED = Gauge(
    "gateway_commit_queue", "Entries waiting for their commit.", registry=REGISTRY, multiprocess_mode="livesum"
)
QUEUE_BOUND = Gauge(
    "gateway_commit_queue_bound",
    "Entries that may wait before callbacks get 503.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
COMMIT_WAIT_SECONDS = Histogram(
    "gateway_commit_wait_seconds",
    "How long the first entry of a commit waited for its turn.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
POOL_IN_USE = Gauge(
    "gateway_database_pool_in_use",
    "Connections of the pool that are in use.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_SIZE = Gauge(
    "gateway_database_pool_size",
    "Connections that the pool has at most.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
READS = Counter(
    "gateway_reads",
    "Readings that a standby could answer, by the server that did; none without a standby.",
    ("server",),
    registry=REGISTRY,
)
EVENT_READERS = Gauge(
    "gateway_event_readers",
    "Streams and waiting requests that follow events.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
EVENT_LAG_SECONDS = Histogram(
    "gateway_event_lag_seconds",
    "From the arrival of a report to its being passed on as an event.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
CLOCK_SKEW = Gauge(
    "gateway_clock_skew_seconds",
    "How far this machine's clock is ahead of the database's.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
DATABASE_UP = Gauge(
    "gateway_database_up",
    "1 if the database answered when it was last looked at.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
PROVIDER_READY = Gauge(
    "gateway_provider_ready",
    "1 while a provider is configured and well.",
    ("provider",),
    registry=REGISTRY,
    multiprocess_mode="livemin",
)
TOKEN_AGE = Gauge(
    "gateway_provider_token_age_seconds",
    "Age of the oldest token in use.",
    ("provider",),
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
SESSION_STATES = ("requested", "active", "stopping", "unknown", "completed", "stopped", "failed")
SESSIONS = Gauge(
    "gateway_sessions",
    "Periodic sessions in the database, by state.",
    ("state",),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
SUBSCRIPTION_STATES = ("active", "failing", "paused", "disabled")
SUBSCRIPTIONS = Gauge(
    "gateway_subscriptions",
    "Subscriptions in the database, by state; failing are those whose last attempt has failed.",
    ("state",),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
MISSING = Gauge(
    "gateway_reports_missing",
    "Reports that running sessions should have and lack.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
FAILED_STOPS = Gauge(
    "gateway_stops_failed",
    "Devices of running sessions that the provider could not stop; they go on, and may be billed.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
QUARANTINED = Gauge(
    "gateway_callbacks_quarantined",
    "Callbacks in quarantine, to be replayed.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
RETIRED = Counter(
    "gateway_retention_removed",
    "What went because its time was up: days and rows, by table.",
    ("table",),
    registry=REGISTRY,
)


def exposition() -> bytes:
    """Write all metrics in the Prometheus text format: those of all server processes, where there are several."""
    folder = os.environ.get(SHARED_FOLDER)
    if folder is None:
        return generate_latest(REGISTRY)
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not _is_alive(pid):
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]  # the library states none
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]  # the library states none
    return generate_latest(registry)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def attempt(provider: str, outcome: str, duration_s: float) -> None:
    """Count one attempt at a provider."""
    counter, seconds = _attempt_children(provider, outcome)
    counter.inc()
    seconds.observe(duration_s)


@cache
def _attempt_children(provider: str, outcome: str) -> tuple[Counter, Histogram]:
    return ATTEMPTS.labels(provider, outcome), ATTEMPT_SECONDS.labels(provider)


def request(method: str, route: str, status: int, duration_s: float) -> None:
    """Count one answered request."""
    counter, seconds = _request_children(method, route, status)
    counter.inc()
    seconds.observe(duration_s)


@cache
def _request_children(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method if method in _METHODS else "other", route, status), REQUEST_SECONDS.labels(route)
