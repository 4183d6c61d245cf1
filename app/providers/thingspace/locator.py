"""Locates devices by their identifiers: `POST /locations` (reference, section 4)."""

import asyncio
from collections.abc import Sequence

from app.errors import GatewayError
from app.model import Deadline, Device, Located, LocationQuery, Source
from app.provider import Assessment, CallStep, LocatesBy
from app.providers.thingspace.chunks import Asked
from app.providers.thingspace.client import Client
from app.providers.thingspace.inquiry import Inquiry, Outcome, ladder, times_by_freshness

_SOURCES: tuple[Source, ...] = ("network",)
_CURRENT = CallStep(name="current", billed=True)
_STEPS = {
    ("1",): (CallStep(name="cache_or_current", billed=None),),
    ("0", "2"): (CallStep(name="cache", billed=False), _CURRENT),
    ("2",): (_CURRENT,),
}


class ThingSpaceLocator:
    """Asks ThingSpace where the network sees a device."""

    def __init__(self, client: Client, default_account: str | None) -> None:
        self._client = client
        self._default_account = default_account
        self._times = times_by_freshness()

    @property
    def locates_by(self) -> LocatesBy:
        """By the device's identifiers."""
        return "device"

    def assess(self, query: LocationQuery) -> Assessment:
        """Ask for an id, an MDN and an account; measurements are not needed."""
        device = query.device
        if device.id is None and device.mdn is None:
            return Assessment(usable=False, reason="ThingSpace needs the device's IMEI, MEID or ESN, and its MDN.")
        steps = _STEPS[ladder(query.max_age_s)]
        if device.id is None or device.kind is None:
            reason = "ThingSpace needs the device's IMEI, MEID or ESN beside its MDN."
            return Assessment(usable=False, reason=reason, missing_identifier="id", steps=steps, sources=_SOURCES)
        if device.mdn is None:
            reason = "ThingSpace needs the device's MDN beside its IMEI, MEID or ESN."
            return Assessment(usable=False, reason=reason, missing_identifier="mdn", steps=steps, sources=_SOURCES)
        if not (device.account or self._default_account):
            reason = "ThingSpace needs a billing account: send device.account or set THINGSPACE_ACCOUNT."
            return Assessment(usable=False, reason=reason)
        return Assessment(usable=True, steps=steps, sources=_SOURCES)

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        """Locate one device."""
        inquiry = Inquiry(self._client, self._times, deadline)
        [outcome] = await inquiry.locate([self._to_asked(query.device)], query.max_age_s)
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Outcome]:
        """Locate many devices, 20 to a call where account and freshness agree."""
        inquiry = Inquiry(self._client, self._times, deadline)
        places: dict[int | None, list[int]] = {}
        for place, query in enumerate(queries):
            places.setdefault(query.max_age_s, []).append(place)
        groups = await asyncio.gather(
            *(
                inquiry.locate([self._to_asked(queries[place].device) for place in alike], max_age_s)
                for max_age_s, alike in places.items()
            )
        )
        outcomes: dict[int, Outcome] = {}
        for alike, group in zip(places.values(), groups, strict=True):
            outcomes |= zip(alike, group, strict=True)
        return [outcomes[place] for place in range(len(queries))]

    def _to_asked(self, device: Device) -> Asked:
        assert device.id is not None, "assessed before"
        assert device.kind is not None, "assessed before"
        assert device.mdn is not None, "assessed before"
        account = device.account or self._default_account or ""
        return Asked(account=account, id=device.id, kind=device.kind, mdn=device.mdn)
