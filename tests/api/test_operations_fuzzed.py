"""The OpenAPI document, taken at its word: every operation is called with data that fits it and data that does not.

The gateway stands in front of the simulator, both on sockets of their own.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks

from app.main import create_app
from app.simulator import create_simulator
from tests.support.gateways import AUTHORIZED, in_background, settings, simulator_variables
from tests.support.servers import serving
from tests.support.vendors import DEVICE

load_all_checks()
_UNANSWERABLE, _REFUSED_ITEMS, _USE_AFTER_END = schemathesis.checks.CHECKS.get_by_names(
    ["positive_data_acceptance", "negative_data_rejection", "use_after_free"]
)
EXCEPTIONS = {"POST /locate/batch": [_UNANSWERABLE, _REFUSED_ITEMS]}
"""A question that is valid may well be one that no vendor can answer, and a wrong item has a problem of its own."""

ENDLESS = "GET /events/stream"
"""Its answer goes on for good."""
_TRIES = 3

UNHURRIED = limits(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def gateway_url(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    @asynccontextmanager
    async def both() -> AsyncIterator[str]:
        async with serving(create_simulator()) as simulator:
            for name, value in simulator_variables(simulator).items():
                patch.setenv(name, value)
            changes = {"max_body_bytes": 100_000, "public_url": simulator}
            async with serving(create_app(settings(module_database_url, **changes))) as url:
                yield url

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fuzz"))
        with in_background(both) as url:
            yield url


@pytest.fixture(scope="module")
def api(gateway_url: str) -> Any:
    document = httpx.get(f"{gateway_url}/openapi.json").raise_for_status().json()
    # Every call carries a key here; that none is let in without one is tested apart.
    del document["security"]
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=gateway_url)
    return schema


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "not fitting"])
def test_the_document_holds_what_it_promises(api: Any, mode: GenerationMode, subtests: pytest.Subtests) -> None:
    for found in api.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.POSITIVE and operation.label == ENDLESS:
            continue
        if mode is GenerationMode.POSITIVE or takes_something(operation):
            with subtests.test(operation.label):
                try_out(operation, mode)


def takes_something(operation: Any) -> bool:
    """Tell whether there is anything that could be wrong about a call."""
    return any([*operation.iter_parameters(), *operation.body])


def try_out(operation: Any, mode: GenerationMode) -> None:
    """Call one operation some times, and compare every answer with what the document says about it."""

    @limits(UNHURRIED, max_examples=6)
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and case.query:
            case.query.pop("wait", None)  # nothing will happen meanwhile
        case.call_and_validate(headers=AUTHORIZED, excluded_checks=EXCEPTIONS.get(operation.label, [_UNANSWERABLE]))

    holds()


def test_the_document_holds_what_it_promises_when_one_call_follows_from_another(api: Any, gateway_url: str) -> None:
    plan = {"devices": [DEVICE], "interval": 300, "count": 2}
    httpx.post(f"{gateway_url}/periodic", json=plan, headers=AUTHORIZED).raise_for_status()
    answered: set[tuple[str, int]] = set()
    broken: list[Exception] = []

    class Followed(api.include(path_regex="^/(periodic|keys)").as_state_machine()):  # type: ignore[misc]  # a class that is made of the document
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": AUTHORIZED}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            answered.add((case.operation.label, response.status_code))
            excluded = EXCEPTIONS.get(case.operation.label, [_UNANSWERABLE])
            # What was stopped or revoked can still be looked at.
            try:
                case.validate_response(response, excluded_checks=[*excluded, _USE_AFTER_END])
            except Exception as error:
                broken.append(error)
                raise

    for _ in range(_TRIES):
        # What a sequence meets depends on what those before it left: where one that is tried again goes another way,
        # nothing has been found out, and it begins anew.
        with suppress(FlakyStrategyDefinition):
            Followed.run(settings=limits(UNHURRIED, max_examples=15, stateful_step_count=10))
            break

    # Also what was found in a sequence that went another way when it was tried again.
    assert not broken
    # With ids that were not made up but read from an answer.
    assert {("GET /keys/{id}", 200), ("DELETE /keys/{id}", 200), ("GET /periodic/{reference}", 200)} <= answered
