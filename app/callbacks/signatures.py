"""Checks the signatures of callbacks, counts the verdicts, and logs them at intervals."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

import structlog

from app.callbacks.tokens import Address
from app.errors import Unauthenticated
from app.model import Headers, ProviderName
from app.observability import metrics

log = structlog.get_logger()

Signature = Literal["valid", "invalid", "missing", "unchecked"]
Judged = tuple[ProviderName, Signature]

_LOGGED_EVERY_S = 60.0
_WORDS: dict[Signature, str] = {
    "valid": "callbacks are signed with the listener's secret",
    "invalid": "callbacks have a signature that is wrong",
    "missing": "callbacks have no signature",
    "unchecked": "signatures of callbacks are not checked: the listener's secret is not known",
}


def verdict(address: Address, body: bytes, headers: Headers) -> Signature:
    """Judge the signature of a callback over the bytes as they came, before their content coding was undone."""
    if address.reader.signature_mode == "off" or address.secret is None:
        return "unchecked"
    authentic = address.reader.is_authentic(body, headers, address.secret)
    if authentic is None:
        return "missing"
    return "valid" if authentic else "invalid"


def check_signature(address: Address, signature: Signature) -> None:
    """Refuse a callback for the verdict on its signature, where signatures are enforced.

    Raises:
        Unauthenticated: It is not valid.
    """
    if address.reader.signature_mode == "enforce" and signature != "valid":
        raise Unauthenticated("The callback's signature is missing or wrong.")


class SignatureLog:
    """Counts verdicts in a metric, and logs each kind of verdict at most once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged_at: dict[Judged, float] = {}
        self._since: Counter[Judged] = Counter()

    def note(self, judged: Iterable[Judged]) -> None:
        """Note the verdicts on some callbacks."""
        for (provider, signature), count in Counter(judged).items():
            metrics.CALLBACK_SIGNATURES.labels(provider, signature).inc(count)
            self._log((provider, signature), count)

    def _log(self, kind: Judged, count: int) -> None:
        self._since[kind] += count
        now = self._clock()
        if kind in self._logged_at and now - self._logged_at[kind] < _LOGGED_EVERY_S:
            return
        provider, signature = kind
        write = log.warning if signature in ("invalid", "missing") else log.info
        write(_WORDS[signature], provider=provider, signature=signature, callbacks=self._since.pop(kind))
        self._logged_at[kind] = now
