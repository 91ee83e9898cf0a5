"""outbox: tasks that are committed, and not yet in the queue

Revision ID: 6b0c2e91d7a4
Revises: 9d2f4b7c1e08
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "6b0c2e91d7a4"
down_revision: str | None = "9d2f4b7c1e08"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

AUTOVACUUM = """
ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
)
"""
"""Each task leaves a deleted row: they are removed by their number, however many rows wait, and without pauses."""


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.String(length=100), nullable=False),
        sa.Column("function", sa.String(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("order_key", sa.String(length=200), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.Column("is_sent", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("job_id", name=op.f("uq_outbox_job_id")),
    )
    op.create_index(
        op.f("ix_outbox_order_key_outbox_id"),
        "outbox",
        ["order_key", "id"],
        postgresql_where=sa.text("order_key IS NOT NULL"),
    )
    op.create_index("ix_outbox_sent", "outbox", ["id"], postgresql_where=sa.text("is_sent"))
    op.create_index("ix_outbox_refused", "outbox", ["id"], postgresql_where=sa.text("error IS NOT NULL"))
    op.execute(AUTOVACUUM)


def downgrade() -> None:
    op.drop_table("outbox")
