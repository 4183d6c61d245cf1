"""Who may be located: the older exclusion list of an account, and the newer consents."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from app.simulator.state import State
from app.simulator.world.world import SimulatedDevice

NONE, COARSE, PRECISE, BOTH = range(4)
"""The codes of the levels; ThingSpace's own are not documented (reference, section 11.2)."""

LEVELS = {"none": NONE, "coarse": COARSE, "precise": PRECISE, "both": BOTH}

FAULTS = {"no_consent": "ThingSpace device: its owner has not consented to being located"}


@dataclass(slots=True)
class AccountConsents:
    """What one account has said about its devices; `levels` are the codes of single devices."""

    updated_at: datetime
    excludes_all: bool = False
    excluded: list[str] = field(default_factory=list)
    level: int = COARSE
    levels: dict[str, int] = field(default_factory=dict)


class Consents:
    """The consents of every account."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._accounts: dict[str, AccountConsents] = {}

    def of(self, account: str) -> AccountConsents:
        """Return what this account has said; by default every device may be located as the options say."""
        if account not in self._accounts:
            level = LEVELS[self._state.options.consent]
            self._accounts[account] = AccountConsents(self._state.clock.now(), level=level)
        return self._accounts[account]

    def exclude(self, account: str, identifiers: Iterable[str], *, is_added: bool) -> None:
        """Forbid devices to be located, besides or instead of those already forbidden."""
        said = self.of(account)
        before = said.excluded if is_added else []
        said.excluded = list(dict.fromkeys([*before, *identifiers]))
        said.updated_at = self._state.clock.now()

    def include(self, account: str, identifiers: Iterable[str]) -> None:
        """Take devices off the exclusion list."""
        said, allowed = self.of(account), set(identifiers)
        said.excluded = [identifier for identifier in said.excluded if identifier not in allowed]
        said.updated_at = self._state.clock.now()

    def allow(self, device: SimulatedDevice, *, is_precise: bool) -> bool:
        """Say whether the device may be located, coarsely or precisely."""
        if self._state.faults.take("no_consent", device=device.identifiers, account=device.account):
            return False
        said = self.of(device.account)
        is_excluded = said.excludes_all or any(name in said.excluded for name in device.identifiers)
        level = said.levels.get(device.imei, said.level)
        return not is_excluded and level in ((PRECISE, BOTH) if is_precise else (COARSE, BOTH))
