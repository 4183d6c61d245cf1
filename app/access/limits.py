"""Holds the limits of keys: requests in a minute, and billed fixes on a day."""

import math
from dataclasses import dataclass
from datetime import date

import structlog

from app.caller import Caller
from app.errors import BudgetExceeded, RateExceeded, Unavailable
from app.provider import Meter
from app.storage import limits
from app.storage.database import Database

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How a key stands in its present minute.

    Attributes:
        quota: Requests that it may send in a minute.
        left: Requests that it may still send.
        reset_s: Seconds until the next minute begins.
    """

    quota: int
    left: int
    reset_s: int
    is_exceeded: bool

    def check(self) -> None:
        """Refuse a request that is one too many.

        Raises:
            RateExceeded: It is.
        """
        if self.is_exceeded:
            raise RateExceeded(f"This API key may send {self.quota} requests a minute.", retry_after_s=self.reset_s)


class RateLimits:
    """Counts requests; only keys with a limit pay for it with a round trip."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, caller: Caller) -> Rate | None:
        """Count a request of a caller; None when there is no limit.

        Raises:
            Unavailable: It cannot be counted now, so it must not be served.
        """
        quota = caller.rate_per_minute
        if quota is None:
            return None
        async with self._database.transaction() as session:
            count = await limits.count_request(session, caller.key_id)
        return Rate(
            quota=quota,
            left=max(0, quota - count.used),
            reset_s=max(1, math.ceil(count.left_s)),
            is_exceeded=count.used > quota,
        )

    async def forget_old(self) -> None:
        """Forget counts of days that are long over."""
        async with self._database.transaction() as session:
            await limits.forget_old(session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a key may still spend today (UTC).

    Attributes:
        daily_fixes: The billed fixes that it may spend on a day.
        left: How many of them are left.
        reset_s: Seconds until the next day begins.
    """

    daily_fixes: int
    left: int
    reset_s: int


async def budget_of(caller: Caller, database: Database) -> Budget | None:
    """Find out what a caller may still spend; None for one who may spend without a limit.

    Raises:
        Unavailable: The database cannot be asked.
    """
    if caller.daily_fixes is None:
        return None
    async with database.transaction() as session:
        count = await limits.used_today(session, caller.key_id)
    left = max(0, caller.daily_fixes - count.used)
    return Budget(daily_fixes=caller.daily_fixes, left=left, reset_s=max(1, math.ceil(count.left_s)))


def meter_for(caller: Caller, database: Database) -> Meter | None:
    """Make the meter of a caller; None for one who may spend without a limit."""
    if caller.daily_fixes is None:
        return None
    return _DailyMeter(caller.key_id, caller.daily_fixes, database)


class _DailyMeter:
    """Counts billed fixes against a key's daily budget."""

    def __init__(self, key_id: str, limit: int, database: Database) -> None:
        self._key_id = key_id
        self._limit = limit
        self._database = database

    async def reserve(self, fixes: int) -> date:
        """Count fixes, all or none."""
        async with self._database.transaction() as session:
            day = await limits.reserve(session, self._key_id, fixes, self._limit)
            if day is not None:
                return day
            count = await limits.used_today(session, self._key_id)
        is_never_enough = fixes > self._limit
        error = BudgetExceeded(
            f"This API key has a budget of {self._limit} billed fixes a day, and too few are left.",
            retry_after_s=math.inf if is_never_enough else max(1, math.ceil(count.left_s)),
        )
        error.left = max(0, self._limit - count.used)
        raise error

    async def give_back(self, day: date, fixes: int) -> None:
        """Take back what was not billed; where that fails, the key has less to spend than it might."""
        try:
            async with self._database.transaction() as session:
                await limits.give_back(session, self._key_id, day, fixes)
        except Unavailable:
            log.warning("fixes not given back", key=self._key_id, count=fixes)
