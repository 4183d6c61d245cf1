"""What concerns a device as a whole: where it has been, and erasing it."""

from app.devices.erase import Erase
from app.devices.tracks import Tracks

__all__ = ["Erase", "Tracks"]
