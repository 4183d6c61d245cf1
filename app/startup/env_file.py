"""Reads `.env` as the settings do, and finds the lines that they skip."""

import logging
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import parse_stream


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """What is in a file of settings.

    Attributes:
        names: The variables that it sets.
        problems: What cannot be read, by line, without repeating it.
        is_readable: Whether the file can be read at all; a missing one can.
    """

    names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_readable: bool = True


def read_env_file(path: Path) -> EnvFile:
    """Read a file of settings; a missing one is empty."""
    # It would write a line for each class of settings, without saying which file it means.
    logging.getLogger("dotenv.main").setLevel(logging.ERROR)
    try:
        with path.open(encoding="utf-8") as file:
            bindings = list(parse_stream(file))
    except FileNotFoundError:
        return EnvFile()
    except UnicodeDecodeError:
        return EnvFile(problems=(f"{path}: is not UTF-8; save it as UTF-8 text",), is_readable=False)
    except OSError as error:
        return EnvFile(problems=(f"{path}: cannot be read ({error.strerror})",), is_readable=False)
    problems = [
        f"{path}, line {one.original.line}: cannot be read; write NAME=value"
        for one in bindings
        if one.error or (one.key is not None and one.value is None)
    ]
    names = [one.key for one in bindings if one.key is not None and not one.error]
    return EnvFile(names=tuple(names), problems=tuple(problems))
