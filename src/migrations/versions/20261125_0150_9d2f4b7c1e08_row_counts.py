"""row counts: how many visible users there are, and how many visible posts of each author

Triggers keep them, so that every way of writing counts; `app.core.db.row_count` describes how.

Revision ID: 9d2f4b7c1e08
Revises: 5c1e9d0a7b42
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "9d2f4b7c1e08"
down_revision: str | None = "5c1e9d0a7b42"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNTED = {"user": "0", "post": "created_by_user_id"}
"""The counted tables, and whose rows are counted together: all of them, or those of one author."""

ADD = """
CREATE FUNCTION add_to_row_count(counted text, owners int[], changes bigint[]) RETURNS void
LANGUAGE plpgsql STRICT AS $$
BEGIN
    INSERT INTO row_count (list, owner_id, count)
        SELECT counted, owner, sum(change) FROM unnest(owners, changes) AS given (owner, change)
        GROUP BY owner HAVING sum(change) <> 0;
    IF FOUND AND random() < 0.02 AND current_setting('transaction_isolation') = 'read committed' THEN
        WITH chosen AS (
            SELECT list, owner_id, id FROM row_count WHERE list = counted AND owner_id = ANY (owners)
            FOR UPDATE SKIP LOCKED
        ), merged AS (
            DELETE FROM row_count USING chosen WHERE row_count.list = chosen.list
                AND row_count.owner_id = chosen.owner_id AND row_count.id = chosen.id
            RETURNING row_count.owner_id, row_count.count
        )
        INSERT INTO row_count (list, owner_id, count)
            SELECT counted, owner_id, sum(count) FROM merged GROUP BY owner_id HAVING sum(count) <> 0;
    END IF;
END
$$
"""
COUNT = """
CREATE FUNCTION count_{table}_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM row_count WHERE list = '{table}';
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM add_to_row_count('{table}', array_agg({owner}), array_agg(1)) FROM added WHERE NOT is_deleted;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM add_to_row_count('{table}', array_agg({owner}), array_agg(-1)) FROM removed WHERE NOT is_deleted;
        {forget}
    ELSE
        PERFORM add_to_row_count('{table}', array_agg(owner), array_agg(change)) FROM (
            SELECT {owner} AS owner, 1 AS change FROM added WHERE NOT is_deleted
            UNION ALL SELECT {owner}, -1 FROM removed WHERE NOT is_deleted
        ) AS changes;
    END IF;
    RETURN NULL;
END
$$
"""
FORGET = {
    "user": "DELETE FROM row_count WHERE list = 'post' AND owner_id IN (SELECT id FROM removed);",
    "post": """DELETE FROM row_count WHERE list = 'post' AND owner_id IN (SELECT created_by_user_id FROM removed)
            AND NOT EXISTS (SELECT FROM "user" WHERE "user".id = owner_id);""",
}
"""A deleted author has no count. The cascade to the author's posts comes after the deletion's own trigger."""
TRIGGERS = {
    "insert": "REFERENCING NEW TABLE AS added",
    "update": "REFERENCING OLD TABLE AS removed NEW TABLE AS added",
    "delete": "REFERENCING OLD TABLE AS removed",
    "truncate": "",
}


def upgrade() -> None:
    op.create_table(
        "row_count",
        sa.Column("list", sa.String(length=63), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("list", "owner_id", "id", name=op.f("pk_row_count")),
    )
    op.execute(ADD)
    for table, owner in COUNTED.items():
        op.execute(COUNT.format(table=table, owner=owner, forget=FORGET[table]))
        for event, transition in TRIGGERS.items():
            op.execute(
                f'CREATE TRIGGER count_on_{event} AFTER {event.upper()} ON "{table}" {transition} '
                f"FOR EACH STATEMENT EXECUTE FUNCTION count_{table}_rows()"
            )
        # From the first trigger on, writes of others wait for the end of this transaction.
        op.execute(
            f"INSERT INTO row_count (list, owner_id, count) "  # noqa: S608 - constants
            f"SELECT '{table}', {owner}, count(*) FROM \"{table}\" WHERE NOT is_deleted GROUP BY 2"
        )


def downgrade() -> None:
    for table in COUNTED:
        for event in TRIGGERS:
            op.execute(f'DROP TRIGGER count_on_{event} ON "{table}"')
        op.execute(f"DROP FUNCTION count_{table}_rows()")
    op.execute("DROP FUNCTION add_to_row_count(text, int[], bigint[])")
    op.drop_table("row_count")
