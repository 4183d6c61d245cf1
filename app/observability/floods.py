"""Keeps the log readable in a flood: a processor that bounds the lines a second of each kind, and counts the others."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from structlog.typing import EventDict, WrappedLogger

_LEFT_OUT = "more lines of one kind left out"
_LEVELS = frozenset({"warning", "error", "exception", "critical"})

Kind = tuple[str, str]


def _later(after_s: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(after_s, call)
    timer.daemon = True
    timer.start()


@dataclass(slots=True)
class _Window:
    ends_at: float
    lines: int = 0
    left_out: int = 0


@dataclass
class FloodLimit:
    """Limits how often one event and code is logged as a warning or error, and logs how many lines were dropped.

    Attributes:
        most: Lines of one kind in a window.
        window_s: How long a window lasts.
        later: Calls a function after so many seconds; log lines come from threads as well, so no event loop is used.
    """

    most: int = 5
    window_s: float = 1.0
    clock: Callable[[], float] = time.monotonic
    later: "Callable[[float, Callable[[], None]], None]" = _later
    _windows: dict[Kind, _Window] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self, logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
        """Let a line pass or drop it."""
        kind = (str(event_dict.get("event")), str(event_dict.get("code", "")))
        if method_name not in _LEVELS or kind[0] == _LEFT_OUT or self._is_within_limit(kind):
            return event_dict
        raise structlog.DropEvent

    def _is_within_limit(self, kind: Kind) -> bool:
        now = self.clock()
        with self._lock:
            window = self._windows.get(kind)
            # Where lines were left out, their window ends with the line that counts them.
            if window is None or (now >= window.ends_at and not window.left_out):
                window = self._windows[kind] = _Window(now + self.window_s)
            if window.lines < self.most:
                window.lines += 1
                return True
            window.left_out += 1
            is_first = window.left_out == 1
        if is_first:
            self.later(max(0.0, window.ends_at - now), lambda: self._report(kind))
        return False

    def _report(self, kind: Kind) -> None:
        with self._lock:
            window = self._windows.pop(kind)
        event, code = kind
        about = {"code": code} if code else {}
        structlog.get_logger().warning(_LEFT_OUT, of=event, **about, count=window.left_out)
