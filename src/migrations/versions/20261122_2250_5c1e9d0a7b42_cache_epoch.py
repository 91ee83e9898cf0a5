"""cache epoch

Revision ID: 5c1e9d0a7b42
Revises: a55953aa7857
"""

import secrets
from collections.abc import Sequence

from alembic import op

revision: str = "5c1e9d0a7b42"
down_revision: str | None = "a55953aa7857"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Random, so that a new database does not accept responses that were cached for an earlier one.
    op.execute(f"CREATE SEQUENCE cache_epoch START {secrets.randbits(48) + 1}")


def downgrade() -> None:
    op.execute("DROP SEQUENCE cache_epoch")
