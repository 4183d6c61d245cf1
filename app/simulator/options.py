"""What a simulator can be told when it starts."""

from dataclasses import dataclass, field
from typing import Literal

Consent = Literal["none", "coarse", "precise", "both"]

SPELLINGS: dict[str, str] = {
    "fixes_unlimited_by_default": "ThingSpace: a periodic request without numberOfFixes runs until stopped (row 3)",
    "location_type_beside": "ThingSpace: locationType stands beside positionData, not inside it (row 4)",
    "no_mdn": "ThingSpace: callbacks name the device by id only (row 5)",
    "stop_by_id": "ThingSpace: stop callbacks hold kind and id, no mdn (row 6)",
    "stop_by_mdn": "ThingSpace: stop callbacks hold the mdn, no id (row 6)",
    "kind_lower_case": "ThingSpace: the kind of an identifier in callbacks is written imei (row 7)",
    "empty_as_null": "ThingSpace: pd, positionData and error are null where there is none (row 10)",
    "empty_omitted": "ThingSpace: pd, positionData and error are left out where there is none (row 10)",
    "empty_as_object": "ThingSpace: pd, positionData and error are {} where there is none, in callbacks too (row 10)",
    "status_contradicts": "ThingSpace: status SUCCESS with errors inside, FAILED with a position inside (row 11)",
    "txid_everywhere": "ThingSpace: every transaction id is called txid (row 12)",
    "transaction_id_lower_d": "ThingSpace: every transaction id is called transactionId (row 12)",
    "transaction_id_upper_d": "ThingSpace: every transaction id is called transactionID (row 12)",
    "transaction_id_padded": "ThingSpace: transaction ids begin with a date and end with a blank (row 13)",
    "qos_flipped": "ThingSpace: qos is a boolean where it is a string by default, and the other way round (row 14)",
    "numbers_as_numbers": "ThingSpace: coordinates in answers and callbacks are JSON numbers (row 2)",
    "numbers_as_strings": "ThingSpace: expires_in and the totalCount of a report are strings (row 2)",
    "listeners_long": "ThingSpace: the callback list has accountName, serviceName, url, username, password (row 21)",
    "removal_named": "ThingSpace: removing a callback answers accountName and serviceName (row 22)",
    "registration_account_name": "ThingSpace: registering a callback answers accountName (row 24)",
    "subscriptions_array": "ThingSpace: subscriptions come as an array (row 25)",
    "usage_spelt_right": "ThingSpace: usageForAllAccounts is spelt correctly in the reply (row 26)",
    "session_expires_in": "ThingSpace: a session reply has expiresIn (row 29)",
    "devices_together": "ThingSpace: one callback holds several devices (row 30)",
    "stop_with_start_id": "ThingSpace: stop callbacks carry the transaction id of the start (row 31)",
    "source_short": "CloudLocate: LocationSource is GPS, Wi-Fi or Cell",
    "source_upper_case": "CloudLocate: LocationSource is GNSS, WIFI or CELLULAR",
    "source_lower_case": "CloudLocate: LocationSource is gnss, wlan or cell_id",
    "imei_echoed": "CloudLocate: an IMEI given with the cells is repeated in the answer",
    "time_of_answer": "CloudLocate: DateTime is the time of the answer, not of the measurement",
}
"""Alternative spellings that the vendors' pages allow, off by default; row numbers are of the contradictions table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one simulator; the credentials are made up and no secret.

    Attributes:
        seed: From which the world and every choice is derived; the same seed, the same answers.
        fleet: How many devices there are.
        account: The account of most devices.
        other_account: The account of every tenth device but the first, for questions of ownership.
        bearer_lifetime_s: How long a ThingSpace bearer is valid, in simulated seconds.
        session_idle_s: How long an M2M session lives unused, in simulated seconds.
        login_failures: How many rejected logins in a row lock the ThingSpace login.
        consent: Who may be located by default: `none`, `coarse`, `precise` or `both`; periodic fixes are precise.
        strict: Refuse what the vendors' tables forbid but their examples show.
        callback_retry_interval_s: Between two tries of one callback, in simulated seconds.
        callback_tries: How often one callback is sent at most.
        callback_delay_s: The longest delay of an asynchronous answer, in simulated seconds.
        callback_concurrency: How many callbacks are on their way at once.
        callback_timeout_s: How long a receiver may take to answer one callback, in real seconds.
        callback_required: Refuse work whose results would have no registered listener to go to.
        secret_header: In which header the answer to a registration hands out the shared secret.
        signature_header: In which header a callback carries its signature.
        signature_encoding: How that signature is written.
        full_speed: Jump to the next periodic fix as soon as all callbacks are delivered, instead of waiting for it.
        latency_s: Added to every vendor call, in real seconds.
        spellings: Names from `SPELLINGS` that are on from the start.
        cloudlocate_token_lifetime_s: Of OAuth2 tokens, in simulated seconds.
        cloudlocate_strict_checksum: Refuse UBX frames with a wrong checksum.
        cloudlocate_rejects_with: The status for bad credentials; its sister services answer 400.
        cloudlocate_errors: The form of error bodies.
    """

    seed: int = 1
    fleet: int = 20_000
    account: str = "0844559123-00001"
    other_account: str = "0844559123-00002"
    consent: Consent = "coarse"
    strict: bool = False
    latency_s: float = 0.0
    spellings: frozenset[str] = field(default_factory=frozenset)

    thingspace_key: str = "simulator-key"
    thingspace_secret: str = "simulator-secret"  # noqa: S105 made up, and told by /control/credentials
    thingspace_username: str = "simulator-user"
    thingspace_password: str = "simulator-password"  # noqa: S105 made up
    bearer_lifetime_s: float = 3600.0
    session_idle_s: float = 1200.0
    login_failures: int = 5
    callback_retry_interval_s: float = 300.0
    callback_tries: int = 4
    callback_delay_s: float = 2.0
    callback_concurrency: int = 64
    callback_timeout_s: float = 10.0
    callback_required: bool = False
    secret_header: str = "X-Callback-Secret"  # noqa: S105 the name of a header
    signature_header: str = "X-Callback-Signature"
    signature_encoding: Literal["hex", "base64", "sha256=hex"] = "hex"
    full_speed: bool = False

    cloudlocate_position_path: str = "/cloudlocate/v1/position"
    cloudlocate_token_path: str = "/cloudlocate/v1/token"  # noqa: S105 a path
    cloudlocate_username: str = "simulator-thing"
    cloudlocate_password: str = "simulator-thing-password"  # noqa: S105 made up
    cloudlocate_token_lifetime_s: float = 300.0
    cloudlocate_strict_checksum: bool = False
    cloudlocate_rejects_with: Literal[400, 401] = 401
    cloudlocate_errors: Literal["json", "text", "empty"] = "json"

    def gateway_settings(self, cloudlocate_url: str, thingspace_url: str) -> dict[str, str]:
        """List the settings, as environment variables, of a gateway whose vendors are simulators at these addresses."""
        return {
            "CLOUDLOCATE_URL": f"{cloudlocate_url}{self.cloudlocate_position_path}",
            "CLOUDLOCATE_USERNAME": self.cloudlocate_username,
            "CLOUDLOCATE_PASSWORD": self.cloudlocate_password,
            "THINGSPACE_BASE_URL": f"{thingspace_url}/api",
            "THINGSPACE_KEY": self.thingspace_key,
            "THINGSPACE_SECRET": self.thingspace_secret,
            "THINGSPACE_USERNAME": self.thingspace_username,
            "THINGSPACE_PASSWORD": self.thingspace_password,
            "THINGSPACE_ACCOUNT": self.account,
            "THINGSPACE_CALLBACK_SIGNATURE_HEADER": self.signature_header,
        }
