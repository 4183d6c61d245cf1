"""The alert rules and the dashboard speak of metrics and labels that exist."""

import json
import re
from importlib.resources import files
from typing import Any

import pytest
import yaml

from app.observability import metrics

ALERTS = files("app.operations").joinpath("alerts.yaml").read_text()
DASHBOARD = files("app.operations").joinpath("dashboard.json").read_text()
_METRIC = re.compile(r"\b((?:gateway|process)_[a-z_]+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_BY = re.compile(r"by \(([^)]*)\)")


def exposed() -> dict[str, set[str]]:
    """List the series that are exposed, with their labels."""
    found: dict[str, set[str]] = {}
    for metric in metrics.REGISTRY.collect():
        labels = set(getattr(telemetry_metrics().get(metric.name), "_labelnames", ()))
        match metric.type:
            case "counter":
                names = [f"{metric.name}_total"]
            case "histogram":
                names = [f"{metric.name}_{part}" for part in ("bucket", "sum", "count")]
                labels = labels | {"le"}
            case _:
                names = [metric.name]
        found |= dict.fromkeys(names, labels)
    return found


def telemetry_metrics() -> dict[str, Any]:
    return {value._name: value for value in vars(metrics).values() if hasattr(value, "_labelnames")}


def expressions() -> list[str]:
    rules = [rule["expr"] for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    return rules + [target["expr"] for panel in json.loads(DASHBOARD)["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    series = exposed()

    used = _METRIC.findall(expression)

    assert used or expression.startswith("up{")
    labels: set[str] = set()
    for name, selector in used:
        assert name in series
        assert set(_LABEL.findall(selector)) <= series[name]
        labels |= series[name]
    grouped = {label.strip() for group in _BY.findall(expression) for label in group.split(",")}
    assert grouped <= labels


@pytest.mark.parametrize("name", [name for name in exposed() if name.startswith("gateway_") and "_created" not in name])
def test_every_metric_is_on_the_dashboard_or_in_an_alert(name: str) -> None:
    stem = re.sub(r"_(bucket|sum|count|total)$", "", name)

    assert any(re.search(rf"\b{stem}(_bucket|_total)?\b", expression) for expression in expressions())


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in metrics.REGISTRY.collect():
        assert re.fullmatch(r"(gateway|process)_[a-z_]+", metric.name)
        assert metric.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|minutes|hours)$", metric.name)


def test_every_alert_says_what_it_means() -> None:
    for group in yaml.safe_load(ALERTS)["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            assert rule["labels"]["severity"] in ("page", "ticket")
