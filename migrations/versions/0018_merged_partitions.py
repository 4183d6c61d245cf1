"""Partitions are merged as they age; what changes in them while their rows are copied is noted by a trigger.

The trigger is put on a partition for the time of its merge alone. Its arguments are the table of notes, and the columns
of the key. Existing databases are carried over by running gateways, one merge after the other.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CHANGES_TABLES = False


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION note_changed_key() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            note text := format('INSERT INTO %s SELECT %s FROM (SELECT ($1).*) AS changed', TG_ARGV[0], TG_ARGV[1]);
        BEGIN
            IF TG_OP <> 'INSERT' THEN
                EXECUTE note USING OLD;
            END IF;
            IF TG_OP <> 'DELETE' THEN
                EXECUTE note USING NEW;
            END IF;
            RETURN NULL;
        END
        $$
        """
    )


def downgrade() -> None:
    """Leave merged partitions as they are: every release reads and fills partitions of any length."""
    op.execute("DROP FUNCTION note_changed_key() CASCADE")
