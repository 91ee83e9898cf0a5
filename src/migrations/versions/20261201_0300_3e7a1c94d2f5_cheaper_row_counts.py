"""cheaper row counts: an update that moves no row counts nothing, and an insert takes one statement less

The triggers stay as they are; only their functions are replaced, and the totals of either version are exact.

Revision ID: 3e7a1c94d2f5
Revises: 6b0c2e91d7a4
"""

from collections.abc import Sequence

from alembic import op

revision: str = "3e7a1c94d2f5"
down_revision: str | None = "6b0c2e91d7a4"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNTED = {"user": "0", "post": "created_by_user_id"}
_CHOSEN = """
        WITH chosen AS (
            SELECT list, owner_id, id FROM row_count WHERE list = counted AND owner_id = ANY (owners)
            FOR UPDATE SKIP LOCKED
        ), merged AS (
            DELETE FROM row_count USING chosen WHERE row_count.list = chosen.list
                AND row_count.owner_id = chosen.owner_id AND row_count.id = chosen.id
            RETURNING row_count.owner_id, row_count.count
        )
        INSERT INTO row_count (list, owner_id, count)
            SELECT counted, owner_id, sum(count) FROM merged GROUP BY owner_id HAVING sum(count) <> 0;"""
MERGE = f"""
CREATE FUNCTION merge_row_counts(counted text, owners int[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') = 'read committed' THEN{_CHOSEN}
    END IF;
END
$$
"""
ADD = """
CREATE OR REPLACE FUNCTION add_to_row_count(counted text, owners int[], changes bigint[]) RETURNS void
LANGUAGE plpgsql STRICT AS $$
BEGIN
    INSERT INTO row_count (list, owner_id, count)
        SELECT counted, owner, sum(change) FROM unnest(owners, changes) AS given (owner, change)
        GROUP BY owner HAVING sum(change) <> 0;
    {merge}
END
$$
"""
COUNT = """
CREATE OR REPLACE FUNCTION count_{table}_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM row_count WHERE list = '{table}';
    ELSIF TG_OP = 'INSERT' THEN
        {insert}
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM add_to_row_count('{table}', array_agg({owner}), array_agg(-1)) FROM removed WHERE NOT is_deleted;
        {forget}
    {update}
        PERFORM add_to_row_count('{table}', array_agg(owner), array_agg(change)) FROM (
            SELECT {owner} AS owner, 1 AS change FROM added WHERE NOT is_deleted
            UNION ALL SELECT {owner}, -1 FROM removed WHERE NOT is_deleted
        ) AS changes;
    END IF;
    RETURN NULL;
END
$$
"""
# A product that has removed the posts has no such function, and must not get one.
ONLY_WHERE_IT_EXISTS = """
DO $only$
BEGIN
    IF to_regprocedure('count_{table}_rows()') IS NOT NULL THEN
        EXECUTE $function${function}$function$;
    END IF;
END
$only$
"""
FORGET = {
    "user": "DELETE FROM row_count WHERE list = 'post' AND owner_id IN (SELECT id FROM removed);",
    "post": """DELETE FROM row_count WHERE list = 'post' AND owner_id IN (SELECT created_by_user_id FROM removed)
            AND NOT EXISTS (SELECT FROM "user" WHERE "user".id = owner_id);""",
}
# Most statements insert one row, or change none that is counted: these two are what they cost.
INSERT = """INSERT INTO row_count (list, owner_id, count)
            SELECT '{table}', {owner}, count(*) FROM added WHERE NOT is_deleted GROUP BY 2;
        IF FOUND AND random() < 0.02 THEN
            PERFORM merge_row_counts('{table}', array_agg({owner})) FROM added;
        END IF;"""
UPDATE = """ELSIF ARRAY(SELECT {owner} FROM added WHERE NOT is_deleted)
            <> ARRAY(SELECT {owner} FROM removed WHERE NOT is_deleted) THEN"""
FORMER_INSERT = "PERFORM add_to_row_count('{table}', array_agg({owner}), array_agg(1)) FROM added WHERE NOT is_deleted;"
FORMER_MERGE = (
    f"IF FOUND AND random() < 0.02 AND current_setting('transaction_isolation') = 'read committed' THEN{_CHOSEN}\n"
    "    END IF;"
)


def _replace(add: str, insert: str, update: str) -> None:
    op.execute(ADD.format(merge=add))
    for table, owner in COUNTED.items():
        names = {"table": table, "owner": owner}
        parts = {"insert": insert.format(**names), "update": update.format(**names), "forget": FORGET[table]}
        function = COUNT.format(**names, **parts)
        op.execute(ONLY_WHERE_IT_EXISTS.format(table=table, function=function))


def upgrade() -> None:
    op.execute(MERGE)
    _replace("IF FOUND AND random() < 0.02 THEN PERFORM merge_row_counts(counted, owners); END IF;", INSERT, UPDATE)


def downgrade() -> None:
    _replace(FORMER_MERGE, FORMER_INSERT, "ELSE")
    op.execute("DROP FUNCTION merge_row_counts(text, int[])")
