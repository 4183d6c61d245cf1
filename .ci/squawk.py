"""Check with squawk that the migrations' SQL locks no table for long: each revision by itself, without a database."""  # noqa: INP001 -- a program, not a package

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from app.storage.migrate import to_sql
from app.storage.revisions import known_revisions

LANDED = "0012"
"""The last revision that was there before this check; what databases have run already is not changed any more."""
EXCLUDED = {
    "prefer-bigint-over-int": "counts, seconds and percentages are small; what grows without end is bigint or uuid",
}
_PLAIN_AS_SQL = {
    "require-concurrent-index-creation": "so it is built; only its SQL form, all of it one transaction, is plain"
}
EXCEPTIONS = {"0013": _PLAIN_AS_SQL, "0016": _PLAIN_AS_SQL, "0019": _PLAIN_AS_SQL}
"""What a revision may do all the same, and why."""
OLDEST_POSTGRES = "15.0"


def check(revision: str, sql: str, folder: Path) -> bool:
    """Show what is wrong with the SQL of a revision; return whether it passes."""
    file = folder / f"{revision}.sql"
    file.write_text(sql)
    excluded = ",".join([*EXCLUDED, *EXCEPTIONS.get(revision, {})])
    squawk = Path(sys.executable).with_name("squawk")
    done = subprocess.run(  # noqa: S603 -- the arguments are our own
        [squawk, f"--pg-version={OLDEST_POSTGRES}", f"--exclude={excluded}", "--reporter=gcc", file],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.stdout.write(f"Revision {revision}, see https://squawkhq.com/docs/rules:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def main() -> None:
    """Check all revisions after the last one that is past changing."""
    known = known_revisions()
    with TemporaryDirectory() as folder:
        passed = [
            check(after, to_sql(before, after), Path(folder))
            for before, after in pairwise(known)
            if known.index(after) > known.index(LANDED)
        ]
    if not all(passed):
        sys.exit("Use squawk's advice, or give the reason for an exception in .ci/squawk.py.")


if __name__ == "__main__":
    main()
