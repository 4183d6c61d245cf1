"""What is stored, as SQLAlchemy tables; `migrations/` makes them, and a test holds the two together.

`reports`, `callbacks`, `audit`, `events` and `deliveries` are partitioned by day, so that ingest stays fast and
retention is a DROP; days outside the window kept ready (see `partitions`) go to the default partition.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    false,
    inspect,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.elements import NamedColumn

from app.storage.flags import untimely


class Base(DeclarativeBase):
    """Maps Python types to Postgres types, and names every constraint by convention."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        date: Date(),
        str: Text(),
        int: Integer(),
        float: Double(),
        bytes: LargeBinary(),
        list[str]: ARRAY(Text()),
        dict[str, Any]: JSONB(),
    }


class CallbackRow(Base):
    """One callback as it came in, byte for byte.

    `id` is a ULID whose milliseconds are `received_at`, so that an id alone leads to its partition.
    `state` is `stored` or `quarantined`; `signature` is `valid`, `invalid`, `missing` or `unchecked`.
    """

    __tablename__ = "callbacks"
    __table_args__ = (
        Index("ix_callbacks_quarantined", "received_at", "id", postgresql_where=text("state = 'quarantined'")),
        {"postgresql_partition_by": "RANGE (received_at)"},
    )

    received_at: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str]
    account: Mapped[str | None]
    service: Mapped[str]
    state: Mapped[str]
    signature: Mapped[str]
    reason: Mapped[str | None]
    flags: Mapped[list[str] | None]
    body: Mapped[bytes]


class ReportRow(Base):
    """What a provider said about one device.

    `at` is the time of the fix or the error, else the first arrival. `id` is a ULID made of `at` and a hash of the
    content: the same content is the same row, and newest-first is the order of the primary key read backwards.
    `device` is the id, else `mdn:…`, else `name:…`, else empty.
    """

    __tablename__ = "reports"
    __table_args__ = (
        Index(
            "ix_reports_transaction", "transaction_id", "at", "id", postgresql_where=text("transaction_id IS NOT NULL")
        ),
        Index("ix_reports_device", "device", "at", "id"),
        Index("ix_reports_name", "name", "at", "id", postgresql_where=text("name IS NOT NULL")),
        Index("ix_reports_flagged", "at", "id", postgresql_where=text("flags IS NOT NULL")),
        Index("ix_reports_untimely", "received_at", postgresql_where=text(untimely())),
        Index(
            "ix_reports_unclaimed",
            "transaction_id",
            postgresql_where=text("session_id IS NULL AND transaction_id IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    at: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str]
    type: Mapped[str]
    status: Mapped[str]
    account: Mapped[str | None]
    transaction_id: Mapped[str | None]
    session_id: Mapped[UUID | None]
    device: Mapped[str]
    device_kind: Mapped[str | None]
    mdn: Mapped[str | None]
    name: Mapped[str | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    accuracy_m: Mapped[float | None]
    confidence_pct: Mapped[int | None]
    source: Mapped[str | None]
    cached: Mapped[bool | None]
    error_type: Mapped[str | None]
    error_info: Mapped[str | None]
    error_at: Mapped[datetime | None]
    flags: Mapped[list[str] | None]
    # A column cannot be renamed while gateways of the release before still run.
    vendor_type: Mapped[str | None] = mapped_column("kind_in_words")
    received_at: Mapped[datetime]
    callback_id: Mapped[UUID | None]
    raw: Mapped[str | None]
    qos_met: Mapped[bool | None]


REPORT_COLUMNS: Mapping[str, NamedColumn[Any]] = {
    member.key: member.columns[0] for member in inspect(ReportRow).column_attrs
}
"""The columns of `reports`, by the members of `ReportRow`: statements, rows and records are made of this list."""


class UndatedReportRow(Base):
    """Remembers the first arrival of reports that state no time, so that a repetition gets the same `at`."""

    __tablename__ = "undated_reports"

    content_hash: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)


class PositionRow(Base):
    """The latest fix of each device, by fix time; looked up by device, of whatever account.

    A tile is a tenth of a degree wide and high. It stays the same for most moves, and then no index is touched.
    """

    __tablename__ = "positions"
    __table_args__ = (
        Index("ix_positions_mdn", "mdn", postgresql_where=text("mdn IS NOT NULL")),
        Index("ix_positions_tile", text("point(tile_x, tile_y)"), postgresql_using="gist"),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    device: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    report_id: Mapped[UUID]
    provider: Mapped[str]
    mdn: Mapped[str | None]
    latitude: Mapped[float]
    longitude: Mapped[float]
    accuracy_m: Mapped[float | None]
    tile_x: Mapped[int] = mapped_column(Computed("floor(longitude * 10::double precision)::integer", persisted=True))
    tile_y: Mapped[int] = mapped_column(Computed("floor(latitude * 10::double precision)::integer", persisted=True))


class DeviceRow(Base):
    """A device that is known in an account, or in none (empty text), by its reports, its sessions or the alias book.

    Attributes:
        mdn, name: The ones that were seen last.
        seen_at: When it was seen last, to the day.
    """

    __tablename__ = "devices"
    __table_args__ = (
        Index(
            "ix_devices_search",
            "device",
            "mdn",
            "name",
            postgresql_using="gin",
            postgresql_ops={"device": "gin_trgm_ops", "mdn": "gin_trgm_ops", "name": "gin_trgm_ops"},
        ),
    )

    device: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    device_kind: Mapped[str | None]
    mdn: Mapped[str | None]
    name: Mapped[str | None]
    seen_at: Mapped[datetime]


class AliasRow(Base):
    """An identifier and an MDN that belong to one device of an account, as the provider itself has said."""

    __tablename__ = "account_aliases"

    device: Mapped[str] = mapped_column(primary_key=True)
    mdn: Mapped[str] = mapped_column(primary_key=True, index=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    device_kind: Mapped[str]
    learned_at: Mapped[datetime]


class FormerAliasRow(Base):
    """The alias book of the releases before accounts had one each; a trigger keeps it empty (migration 0007)."""

    __tablename__ = "aliases"

    device: Mapped[str] = mapped_column(primary_key=True)
    mdn: Mapped[str] = mapped_column(primary_key=True, index=True)
    device_kind: Mapped[str]
    learned_at: Mapped[datetime]


class SessionRow(Base):
    """One periodic job; `state` as in the public contract.

    Attributes:
        told_state: The state of which the log of events was told last.
        is_told_overdue: Whether it was told that reports are missing.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index(
            "ix_sessions_open",
            "state",
            postgresql_where=text("state IN ('requested', 'active', 'stopping', 'unknown')"),
        ),
        Index(
            "ix_sessions_untold",
            "id",
            postgresql_where=text("told_state IS DISTINCT FROM state AND state NOT IN ('requested', 'unknown')"),
        ),
        Index("ix_sessions_overdue", "id", postgresql_where=text("is_told_overdue")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str]
    account: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    transaction_id: Mapped[str | None] = mapped_column(index=True)
    interval_s: Mapped[int]
    count: Mapped[int | None]
    start_delay_s: Mapped[int]
    max_age_s: Mapped[int]
    devices_total: Mapped[int]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    stop_requested_at: Mapped[datetime | None]
    problem: Mapped[dict[str, Any] | None]
    told_state: Mapped[str | None]
    is_told_overdue: Mapped[bool] = mapped_column(server_default=false())


class SessionDeviceRow(Base):
    """One device of a session, with counts that ingest keeps in the same commit as the reports.

    Attributes:
        last_at, last_report_id: The report with the latest fix.
        last_error_at, last_error_id: The latest report of a failure.
        stop_requested_at: When the provider was asked to stop it; None again once it said that this failed.
        stop_failed_at: When the provider last said that a stop had failed.
        ended_at: When the provider gave the device up: it will report no more.
    """

    __tablename__ = "session_devices"
    __table_args__ = (
        Index("ix_session_devices_failed_stops", "session_id", postgresql_where=text("stop_failed_at IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "60"}},
    )

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True, index=True)
    mdn: Mapped[str | None]
    received: Mapped[int] = mapped_column(server_default=text("0"))
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    last_at: Mapped[datetime | None]
    last_report_id: Mapped[UUID | None]
    stop_requested_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    stop_failed_at: Mapped[datetime | None]
    last_error_at: Mapped[datetime | None]
    last_error_id: Mapped[UUID | None]


SESSION_TALLIES = Table(
    "session_tallies",
    Base.metadata,
    Column("session_id", Uuid(), nullable=False, index=True),
    Column("stops_at", DateTime(timezone=True)),
    Column("has_stopped", Boolean(), nullable=False),
    Column("has_ended", Boolean(), nullable=False),
    Column("came", Integer(), nullable=False),
    Column("devices", Integer(), nullable=False),
    Column("received", BigInteger(), nullable=False),
    Column("failed", BigInteger(), nullable=False),
    Column("is_change", Boolean(), nullable=False, server_default=text("true")),
    Index("ix_session_tallies_changes", "session_id", postgresql_where=text("is_change")),
)
"""How many devices of a session stand alike, and what these have received and failed; rows of one kind add up.

Triggers on `session_devices` append changes, which may be negative; see `app.storage.tallies`. `stops_at` is when a
device was asked to stop, else when it stopped; `came` is the number of its reports, failures included.
"""


class SessionTransactionRow(Base):
    """Every provider transaction id that belongs to a session of an account: of its start, and of its stops."""

    __tablename__ = "session_transactions"

    transaction_id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    account: Mapped[str] = mapped_column(primary_key=True)


class IdempotencyRow(Base):
    """A request made under an Idempotency-Key, and its answer once there is one."""

    __tablename__ = "idempotency"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(index=True)
    session_id: Mapped[UUID | None]
    status: Mapped[int | None]
    answer: Mapped[bytes | None]


class ListenerRow(Base):
    """Our callback listener at a provider, one per account and callback service."""

    __tablename__ = "listeners"

    account: Mapped[str] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str]
    token: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str | None]
    sealed_secret: Mapped[bytes | None]
    header_names: Mapped[list[str] | None]
    registered_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    problem: Mapped[str | None]
    is_lost: Mapped[bool] = mapped_column(server_default=false())


class ProviderStateRow(Base):
    """Whether a provider is degraded for any replica, as the log of events was told.

    Attributes:
        degraded_at: When a replica found it so last.
    """

    __tablename__ = "provider_states"

    provider: Mapped[str] = mapped_column(primary_key=True)
    is_degraded: Mapped[bool]
    degraded_at: Mapped[datetime]


class SecretRow(Base):
    """A provider's tokens and login counters, sealed; one row is one lock among all replicas."""

    __tablename__ = "provider_secrets"

    provider: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes | None]
    updated_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(BigInteger(), server_default=text("0"))


class KeyRow(Base):
    """An API key: what it may do, and a hash to know it by; the key itself is kept nowhere.

    `prefix` is how a key begins, so that people can tell keys apart. A key that is rotated keeps its row.
    """

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    accounts: Mapped[list[str] | None]
    devices: Mapped[list[str] | None]
    rate_per_minute: Mapped[int | None]
    daily_fixes: Mapped[int | None]
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class KeyMinuteRow(Base):
    """The requests of a key in its present minute; not worth a write-ahead log, a crash begins a new minute."""

    __tablename__ = "key_minutes"
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": "50"}},)

    key_id: Mapped[str] = mapped_column(primary_key=True)
    began_at: Mapped[datetime]
    requests: Mapped[int] = mapped_column(BigInteger())


class KeyDayRow(Base):
    """The billed fixes of a key on one day (UTC)."""

    __tablename__ = "key_days"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    key_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    fixes: Mapped[int] = mapped_column(BigInteger())


class AuditRow(Base):
    """An audited action: who did what, when, to which device; a trigger refuses changes.

    `device` is the key that the device has in `reports`; the devices of a periodic session are found by
    `session_id`. `outcome` is `located`, `accepted`, `done` or the code of a problem.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_device", "device", "at", "id", postgresql_where=text("device IS NOT NULL")),
        Index("ix_audit_key", "key_id", "at", "id"),
        Index("ix_audit_session", "session_id", "at", "id", postgresql_where=text("session_id IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    at: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    key_id: Mapped[str]
    request_id: Mapped[str]
    action: Mapped[str]
    outcome: Mapped[str]
    account: Mapped[str | None]
    device: Mapped[str | None]
    provider: Mapped[str | None]
    billed: Mapped[bool | None]
    report_id: Mapped[UUID | None]
    session_id: Mapped[UUID | None]
    subject: Mapped[str | None]


class EventRow(Base):
    """The reports that one commit stored, as events; or one event that is no report.

    Attributes:
        generation, xid: The transaction; numbers of transactions only rise within a generation.
        part: In the order of the statements of a transaction.
        size: How many events it is.
        report_ids: The reports, whose ids lead to their time; the other columns are for what is no report.
        at: When it happened.
        session_id: The session that it is about.
        data: As callers see it.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_id", "id", postgresql_where=text("id IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (stored_at)"},
    )

    generation: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    xid: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    part: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    stored_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=text("now()"))
    size: Mapped[int] = mapped_column(server_default=text("1"))
    report_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid()))
    id: Mapped[UUID | None]
    type: Mapped[str | None]
    subject: Mapped[str | None]
    at: Mapped[datetime | None]
    account: Mapped[str | None]
    session_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any] | None]


class EventGenerationRow(Base):
    """A life of the database cluster, in which numbers of transactions only rise.

    Attributes:
        life: The cluster's identifier and its timeline.
        dropped_xid: Up to which transaction events are no longer kept; 0 while all are.
    """

    __tablename__ = "event_generations"

    generation: Mapped[int] = mapped_column(BigInteger(), primary_key=True, autoincrement=False)
    life: Mapped[str]
    dropped_xid: Mapped[int] = mapped_column(BigInteger(), server_default=text("0"))


class SubscriptionRow(Base):
    """Who wants which events delivered where, and how far that has come.

    The definition is changed by callers, everything from `cursor` on by the replica that leads the subscription.

    Attributes:
        types, devices: Empty where they do not restrict.
        key_id, api_key: The key that answers for it; `api_key` is None for the keys that are in no table.
        reach_accounts, reach_devices: What the key that made it could see; never widened.
        state: `active`, `paused` or `disabled`; `problem` says why it is disabled.
        revision: Raised by every change that the leader has to learn of.
        former_sealed_secret: The secret before the last rotation, which signs as well until `former_until`.
        next_place: Numbers the deliveries in the order of the log.
        failures: Failed attempts since the last success; `failing_since` is when the first of them was made.
        slow_until: Nothing is sent before.
        leader, leased_until: The process that delivers, until then, by the database's clock.
    """

    __tablename__ = "subscriptions"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    url: Mapped[str]
    types: Mapped[list[str]]
    account: Mapped[str | None]
    devices: Mapped[list[str]]
    transaction_id: Mapped[str | None]
    batch_events: Mapped[int | None]
    batch_delay_s: Mapped[float | None]
    key_id: Mapped[str]
    api_key: Mapped[UUID | None]
    reach_accounts: Mapped[list[str] | None]
    reach_devices: Mapped[list[str] | None]
    state: Mapped[str]
    problem: Mapped[str | None]
    revision: Mapped[int] = mapped_column(server_default=text("0"))
    sealed_secret: Mapped[bytes]
    former_sealed_secret: Mapped[bytes | None]
    former_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    cursor: Mapped[str]
    next_place: Mapped[int] = mapped_column(BigInteger(), server_default=text("0"))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    failing_since: Mapped[datetime | None]
    slow_until: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    last_attempt: Mapped[dict[str, Any] | None]
    leader: Mapped[UUID | None]
    leased_until: Mapped[datetime | None]


class DeliveryRow(Base):
    """One POST to a receiver with the events in it: delivered, to be tried again, or given up.

    Events are named, not copied. What has been delivered goes into one commit with the cursor of its subscription, many
    rows at once.

    Attributes:
        place: The order of a subscription's deliveries; those of one device are sent in this order.
        devices: What the events are about; deliveries that share one wait for each other.
        first_at, last_at: The times of the earliest and the latest event.
        state: `delivered`, `retrying` or `dead`.
        due_at: When it is to be tried next; None when it is not.
        failed: Failed attempts since it was last begun; `attempts` holds all.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_subscription", "subscription_id", "created_at", "id"),
        Index("ix_deliveries_retrying", "subscription_id", "place", postgresql_where=text("state = 'retrying'")),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )

    created_at: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    subscription_id: Mapped[UUID]
    place: Mapped[int] = mapped_column(BigInteger())
    webhook_id: Mapped[str]
    event_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    devices: Mapped[list[str]]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    state: Mapped[str]
    due_at: Mapped[datetime | None]
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(JSONB())
