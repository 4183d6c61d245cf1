"""What all tests of providers share."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def every_level_is_logged() -> None:
    """Undo what a gateway of another test, in this process, set the logs up with."""
    structlog.reset_defaults()
