"""The lock files, and what installed packages say that they need."""

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

Environment = dict[str, str]


def environment(python: str, platform: str = sys.platform) -> Environment:
    """Describe the environment of a Python version, such as `3.13`, on a platform, to markers."""
    systems = {"linux": ("posix", "Linux"), "darwin": ("posix", "Darwin"), "win32": ("nt", "Windows")}
    os_name, system = systems[platform]
    return {name: str(value) for name, value in default_environment().items()} | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "os_name": os_name,
        "platform_system": system,
    }


def locked(lock: str, where: Environment) -> dict[str, str]:
    """Read the versions by name that a lock file has for an environment."""
    lines = [line.rstrip(" \\") for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate(where)]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def unmet(roots: Iterable[str], pins: Mapping[str, str], where: Environment) -> Iterator[str]:
    """Follow requirements through everything that they need; return those that the pins do not meet."""
    todo = [(requirement, "the project") for requirement in wanted(roots, where)]
    seen = set()
    while todo:
        requirement, asked_by = todo.pop()
        name = canonicalize_name(requirement.name)
        if name not in pins or not requirement.specifier.contains(pins[name], prereleases=True):
            yield f"{asked_by} needs {requirement}, and the lock has {pins.get(name, 'none')}"
            continue
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                todo += [(needed, name) for needed in wanted(needs_of(name), where | {"extra": extra})]


def needs_of(name: str) -> list[str]:
    """Read what a package says that it needs; nothing where it is not installed, being for another system."""
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def wanted(requirements: Iterable[str], where: Environment) -> list[Requirement]:
    """Leave out what is not needed in an environment."""
    parsed = [Requirement(one) for one in requirements]
    return [one for one in parsed if one.marker is None or one.marker.evaluate(where)]
