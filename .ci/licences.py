"""Check that all that is shipped may be used for anything: permissive licences, or an exception with a reason."""  # noqa: INP001 -- a program, not a package

import re
import sys
from importlib import metadata
from pathlib import Path

PERMISSIVE = re.compile(
    r"MIT(-0|-CMU)?|BSD(-[0-9]-Clause)?|0BSD|Apache-2\.0|ISC|PSF-2\.0|Python-2\.0|PostgreSQL|Unlicense|Zlib|CC0-1\.0"
)
WORDS = {
    "MIT License": "MIT",
    "MIT license": "MIT",
    "The MIT License": "MIT",
    "BSD License": "BSD",
    "BSD": "BSD",
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache-2.0 license": "Apache-2.0",
    "Apache 2": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
    "New BSD License": "BSD",
    "3-Clause BSD License": "BSD-3-Clause",
}
EXCEPTIONS = {
    "httpx-aiohttp": "BSD-3-Clause: its metadata holds the text instead of the name",
    "certifi": "MPL-2.0: a list of certificates that is used as it is; the copyleft ends at its own files",
}
_NAME = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def licence_of(name: str) -> str:
    """Read what a package says about itself, the newer way first."""
    told = metadata.metadata(name)
    if expression := told.get("License-Expression"):
        return str(expression)
    classifiers = [
        one.rpartition(" :: ")[2] for one in told.get_all("Classifier") or () if one.startswith("License ::")
    ]
    named = [one for one in classifiers if one != "OSI Approved"]
    return " AND ".join(named) or (told.get("License") or "unknown").strip().splitlines()[0]


def is_permissive(licence: str) -> bool:
    """Tell whether one of the alternatives is free of conditions on other people's code."""
    if licence in WORDS:
        return True
    alternatives = re.split(r"\s+OR\s+|/", licence.strip("()"))
    return any(all(_is_known(part) for part in re.split(r"\s+AND\s+", one)) for one in alternatives)


def _is_known(part: str) -> bool:
    word = part.strip().strip("()")
    return PERMISSIVE.fullmatch(WORDS.get(word, word)) is not None


def main() -> int:
    """Look at every locked package that is installed here."""
    wrong = []
    names = _NAME.findall(Path("requirements.txt").read_text())
    for name in names:
        try:
            licence = licence_of(name)
        except metadata.PackageNotFoundError:
            continue  # for another system or another Python
        if name.lower() not in EXCEPTIONS and not is_permissive(licence):
            wrong.append(f"{name}: {licence}")
    good = f"{len(names)} packages: permissive licences, and {', '.join(EXCEPTIONS)} for the reasons given here."
    sys.stdout.write("\n".join(wrong or [good]) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
