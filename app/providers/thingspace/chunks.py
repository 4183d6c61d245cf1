"""Which devices go into one call of `POST /locations`; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.model import DeviceIdKind

LARGEST_CHUNK = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One device of an inquiry; equal ones are sent once."""

    account: str
    id: str
    kind: DeviceIdKind
    mdn: str


def to_chunks(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Divide by account, 20 at most, no MDN twice: the answer distinguishes devices by nothing else."""
    chunks: dict[str, list[dict[str, Asked]]] = {}
    for device in dict.fromkeys(asked):
        of_account = chunks.setdefault(device.account, [])
        for chunk in of_account:
            if len(chunk) < LARGEST_CHUNK and device.mdn not in chunk:
                chunk[device.mdn] = device
                break
        else:
            of_account.append({device.mdn: device})
    return [list(chunk.values()) for of_account in chunks.values() for chunk in of_account]
