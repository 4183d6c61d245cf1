"""Who asks, and how far that key reaches: over which accounts, which devices, how often, and for how much."""

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache

from app.model import AccountName, Device
from app.scopes import SCOPES

_ID = re.compile(r"[0-9A-F?]{8,16}")
_MDN_LENGTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a key may see; None does not restrict.

    Attributes:
        accounts: The accounts whose devices and data it may see; what belongs to no account is then out of reach.
        devices: Identifiers or names, with `*` for any characters and `?` for one; letters of identifiers in upper
            case.
    """

    accounts: frozenset[str] | None = None
    devices: tuple[str, ...] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is out of reach."""
        return self.accounts is None and self.devices is None

    @property
    def only_account(self) -> AccountName | None:
        """The account that is meant when none is named: the only one that is allowed."""
        if self.accounts is not None and len(self.accounts) == 1:
            return AccountName(next(iter(self.accounts)))
        return None

    @property
    def pattern(self) -> str | None:
        """The allowed devices as one regular expression of Postgres."""
        return None if self.devices is None else _to_pattern(self.devices)

    @property
    def names_ids(self) -> bool:
        """Whether it holds patterns that can only be meant for an IMEI, MEID or ESN."""
        return any(_ID.fullmatch(glob) and len(glob) != _MDN_LENGTH for glob in self.devices or ())

    @property
    def names_numbers(self) -> bool:
        """Whether it holds patterns that can only be meant for an MDN."""
        return any(_ID.fullmatch(glob) and len(glob) == _MDN_LENGTH for glob in self.devices or ())

    def has_account(self, account: str | None) -> bool:
        """Return whether an account is within reach."""
        return self.accounts is None or (account is not None and account in self.accounts)

    def has_whole_account(self, account: str | None) -> bool:
        """Return whether an account is within reach with all its devices."""
        return self.has_account(account) and self.devices is None

    def has_device(self, device: Device) -> bool:
        """Return whether a device that a request names is within reach.

        Each identifier by which it would be located has to be allowed: a caller may put together what does not belong
        together. A name is the caller's own and counts only where there is no identifier.
        """
        if self.devices is None:
            return True
        named = [text for text in (device.id, device.mdn) if text] or [text for text in (device.name,) if text]
        allowed = _compiled(self.devices)
        return bool(named) and all(allowed.fullmatch(text) for text in named)

    def has_key(self, key: str, mdn: str | None) -> bool:
        """Return whether what is stored under a device's key is within reach; in SQL `storage.reach.within`.

        Args:
            key: The identifier, or `mdn:…`, or `name:…`.
            mdn: What stands beside it; counts where the key of this reach names no identifiers.
        """
        if self.devices is None:
            return True
        allowed = _compiled(self.devices)
        if key and allowed.fullmatch(key.removeprefix("mdn:").removeprefix("name:")) is not None:
            return True
        return not self.names_ids and mdn is not None and allowed.fullmatch(mdn) is not None

    def has_completed(self, device: Device) -> bool:
        """Return whether a device is within reach that the provider has completed with one of its identifiers.

        One allowed identifier is enough, except where the key names others of the same kind: a key for one IMEI and
        one number reaches no other IMEI under that number.
        """
        if self.devices is None:
            return True
        allowed = _compiled(self.devices)
        has_id = device.id is not None and allowed.fullmatch(device.id) is not None
        has_number = device.mdn is not None and allowed.fullmatch(device.mdn) is not None
        if self.names_ids and device.id is not None and not has_id:
            return False
        if self.names_numbers and device.mdn is not None and not has_number:
            return False
        return has_id or has_number


EVERYTHING = Reach()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request.

    Attributes:
        key_id: Names the key in records; never the key itself.
        rate_per_minute: Requests in a minute, counted over all replicas; None for any number.
        daily_fixes: Billed fixes on a day (UTC), counted over all replicas; None for any number.
    """

    key_id: str
    scopes: frozenset[str]
    reach: Reach = EVERYTHING
    rate_per_minute: int | None = None
    daily_fixes: int | None = None

    @property
    def shares_with(self) -> str:
        """The callers who may share an answer: those who see everything and have no budget, else the key alone."""
        return "" if self.reach.is_everything and self.daily_fixes is None else self.key_id


BOOTSTRAP = Caller(key_id="bootstrap", scopes=SCOPES)
ANYONE = Caller(key_id="anyone", scopes=SCOPES)


def _to_pattern(globs: tuple[str, ...]) -> str:
    return "^(?:" + "|".join("".join(_to_part(character) for character in glob) for glob in globs) + ")$"


def _to_part(character: str) -> str:
    if character == "*":
        return ".*"
    if character == "?":
        return "."
    # Only these are escaped: before letters and digits a backslash means something.
    return f"\\{character}" if character in r"\.^$|()[]{}+" else character


@lru_cache(maxsize=1024)
def _compiled(globs: tuple[str, ...]) -> re.Pattern[str]:
    # Unlike `_to_pattern`, which is for Postgres, these never try one star's share anew for the sake of another's: with
    # many stars that takes Python for ever. The only other wildcard that the library knows is taken as it is written.
    return re.compile("|".join(fnmatch.translate(glob.replace("[", "[[]")) for glob in globs))
