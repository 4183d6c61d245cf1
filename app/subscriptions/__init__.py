"""Subscriptions: events of the log delivered by POST, signed, in order for each device, until they have arrived.

`registry` keeps them, `leases` decides which process delivers, `leader` delivers, `outbox` and `schedule` say what is
sent when.
"""

from dataclasses import dataclass

from app.storage.deliveries import DeliveryRecord, DeliveryState
from app.subscriptions.addresses import DeliveryRules
from app.subscriptions.leases import Leases
from app.subscriptions.log import SubscribedEvents
from app.subscriptions.registry import NewSecret, SubscriptionPlan, SubscriptionRegistry, SubscriptionView
from app.subscriptions.trial import SubscriptionTest

__all__ = [
    "DeliveryRecord",
    "DeliveryRules",
    "DeliveryState",
    "Leases",
    "NewSecret",
    "SubscribedEvents",
    "SubscriptionPlan",
    "SubscriptionRegistry",
    "SubscriptionTest",
    "SubscriptionView",
    "Subscriptions",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriptions:
    """All that has to do with subscriptions."""

    registry: SubscriptionRegistry
    test: SubscriptionTest
    leases: Leases
