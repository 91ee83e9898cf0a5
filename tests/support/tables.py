"""Empty tables for the next test."""

from collections.abc import Iterable

FEW_BYTES = 1 << 18


def empty_tables(names: Iterable[str]) -> str:
    """The statement that deletes all rows and lets ids begin with 1 again.

    TRUNCATE makes new files for each table and index, which takes 20 times as long as to delete a few rows; it is only
    used if a table has become large. No trigger fires, and no foreign key is checked.
    """
    tables = [f'"{name}"' for name in names]
    sizes = ", ".join(f"pg_relation_size('{table}')" for table in tables)
    deletions = " ".join(f"DELETE FROM {table};" for table in tables)  # noqa: S608 - the names of our tables
    return f"""
        DO $$ BEGIN
            IF greatest({sizes}) > {FEW_BYTES} THEN
                TRUNCATE {", ".join(tables)} RESTART IDENTITY;
            ELSE
                SET LOCAL session_replication_role = replica;
                {deletions}
                PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence;
            END IF;
        END $$"""
