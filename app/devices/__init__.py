"""What concerns devices as a whole: which are known, where one has been, and erasing one."""

from app.devices.erase import Erase
from app.devices.known import PAGE, DeviceReader, Devices
from app.devices.tracks import Tracks
from app.storage.device_pages import KnownDevice
from app.storage.running_sessions import DeviceState, RunningSession

__all__ = ["PAGE", "DeviceReader", "DeviceState", "Devices", "Erase", "KnownDevice", "RunningSession", "Tracks"]
