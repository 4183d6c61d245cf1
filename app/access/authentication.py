"""Finds the caller of an API key: in memory while the database announces every change, else by a query."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from secrets import token_hex

import structlog

from app.caller import BOOTSTRAP, Caller
from app.errors import Unavailable
from app.storage import keys
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.notifications import listening

log = structlog.get_logger()

PREFIX = "lg_"
"""How every key begins that the gateway has made."""

_HEARTBEAT_S = 0.3
_TRUSTED_S = 1.0
_ANSWER_WITHIN_S = 1.0
_LOOKUPS_AT_ONCE = 2
_MOST_UNKNOWN = 10_000
_DEAF = (
    "notifications of the database do not arrive, so every key is looked up; where GATEWAY_DATABASE_URL leads to a "
    "pooler, set GATEWAY_DATABASE_DIRECT_URL"
)


def digest_of(key: str) -> bytes:
    """Hash a key as it is stored.

    A plain hash will do: keys are 256 random bits, too many to try, however fast a hash is. Slow hashes
    protect what people think up.
    """
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


class Authenticator:
    """Finds callers by their keys.

    All keys in use are kept in memory, so that a good key costs no query and a wrong one but the first. The copy counts
    only while this process has heard its own notifications within the last second.
    """

    def __init__(
        self, database: Database, bootstrap: str | None, *, channels: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        """Take the bootstrap key, which is known without the database.

        Args:
            channels: What else is listened to over the same connection.
        """
        self._channels = channels or {}
        self._database = database
        self._bootstrap = None if bootstrap is None else digest_of(bootstrap)
        self._known: Mapping[bytes, tuple[Caller, datetime | None]] | None = None
        self._unknown: set[bytes] = set()
        self._lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._trusted_until = 0.0
        self._changed = asyncio.Event()
        self._heard = asyncio.Event()
        self._is_deaf = False
        self._own_channel = f"gateway_alive_{token_hex(8)}"

    async def holder(self, key: str) -> Caller | None:
        """Find the caller that holds a key; None if the key is unknown, revoked or expired.

        Raises:
            Unavailable: The database has to be asked, and is away.
        """
        digest = digest_of(key)
        # No key can be made whose digest is near another one's, so the time of a comparison reveals nothing.
        if digest == self._bootstrap:
            return BOOTSTRAP
        if not key.startswith(PREFIX):
            return None
        known = self._known
        if known is not None and time.monotonic() < self._trusted_until:
            found = known.get(digest)
            if found is not None:
                return None if found[1] is not None and found[1] <= self._database.clock.now() else found[0]
            if digest in self._unknown:
                return None
        # Those who try keys must not take all connections from those who have one.
        async with self._lookups, self._database.transaction() as session:
            caller = await keys.holder(session, digest)
        if caller is None and self._known is known and len(self._unknown) < _MOST_UNKNOWN:
            self._unknown.add(digest)
        return caller

    def forget(self) -> None:
        """Forget the copy, because a key has changed."""
        self._known = None
        self._unknown.clear()
        self._changed.set()

    async def follow(self) -> None:
        """Listen for changes until the database goes away."""
        channels = {**self._channels, keys.CHANNEL: self.forget, self._own_channel: self._heard.set}
        try:
            async with listening(self._database, channels) as connection:
                while await self._hears_itself():
                    await self._learn(connection)
        except Unavailable:
            return
        finally:
            self.forget()

    async def _learn(self, connection: Connection) -> None:
        """Read all keys, and trust in them until something changes."""
        self._changed.clear()
        started = time.monotonic()
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            known = await keys.every(connection)
        # A change that was announced meanwhile may be missing in what was read.
        if self._changed.is_set():
            return
        self._unknown.clear()
        self._known, self._trusted_until = known, started + _TRUSTED_S
        while not await self._has_changed():
            started = time.monotonic()
            if not await self._hears_itself():
                return
            self._trusted_until = started + _TRUSTED_S

    async def _hears_itself(self) -> bool:
        """Return whether notifications arrive; a pooler that shares connections between transactions drops them."""
        self._heard.clear()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                # Over another connection, as every change of a key comes.
                await self._database.notify(self._own_channel)
                await self._heard.wait()
        except (TimeoutError, Unavailable):
            if not self._is_deaf:
                log.warning(_DEAF)
            self._is_deaf = True
            return False
        self._is_deaf = False
        return True

    async def _has_changed(self) -> bool:
        try:
            async with asyncio.timeout(_HEARTBEAT_S):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True
