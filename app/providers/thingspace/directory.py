"""ThingSpace's device list: which identifiers belong together, and to which account (reference, section 11.4)."""

import httpx
import msgspec

from app import identifiers
from app.errors import MalformedJson, UnexpectedReply
from app.model import AccountName, Deadline, Device, DeviceIdKind, Mdn
from app.providers.thingspace import reading
from app.providers.thingspace.client import Call, Client
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.wire import DeviceId, DeviceListRequest, to_json

_KINDS: tuple[DeviceIdKind, ...] = ("imei", "meid", "esn")
_NUMBERS = ("mdn", "msisdn")


class ThingSpaceDirectory:
    """Looks devices up in the list of an account; that is not billed."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, account: AccountName, device: Device, *, deadline: Deadline) -> Device | None:
        """Find a device of an account by the identifier that is known, and complete it.

        Returns:
            The device with both identifiers; None when the account has no such device, or the list lacks the other.

        Raises:
            ProviderError: ThingSpace refused, failed, or could not be reached.
        """
        wanted = (
            DeviceId(id=device.id, kind=device.kind or "imei")
            if device.id
            else DeviceId(id=device.mdn or "", kind="mdn")
        )
        call = Call(
            method="POST",
            path="/devices/actions/list",
            operation="list devices",
            api="m2m",
            body=to_json(DeviceListRequest(account_name=account, device_id=wanted)),
            account=account,
            is_safe=True,
        )
        listed = await self._client.call(call, _to_devices, deadline=deadline)
        found = [one for one in listed if one.id and one.mdn and (one.id == device.id or one.mdn == device.mdn)]
        return msgspec.structs.replace(found[0], account=device.account, name=device.name) if len(found) == 1 else None


def _to_devices(response: httpx.Response) -> list[Device]:
    try:
        value = reading.decode(response.content)
    except MalformedJson as error:
        raise UnexpectedReply("ThingSpace's device list could not be read.", provider=NAME) from error
    devices = reading.members(value).get("devices")
    return [_to_device(element) for element in devices] if isinstance(devices, list) else []


def _to_device(element: object) -> Device:
    listed = reading.members(element).get("deviceids")
    by_kind: dict[str, object] = {}
    for one in listed if isinstance(listed, list) else []:
        members = reading.members(one)
        by_kind.setdefault((reading.text(members.get("kind")) or "").lower(), members.get("id"))
    number = next((found for kind in _NUMBERS if (found := identifiers.mdn(by_kind.get(kind)))), None)
    for kind in _KINDS:
        hardware = identifiers.hardware_id(by_kind.get(kind), kind)
        if hardware is not None:
            return Device(id=hardware[1], kind=hardware[0], mdn=Mdn(number) if number else None)
    return Device(mdn=Mdn(number) if number else None)
