"""How many visible rows a list has, kept by triggers, so that a page's exact total costs the same at any size.

A count is the sum of its rows here. Each statement that changes the number of visible rows of a counted table appends
one row per list, in its own transaction: the total is exact in every snapshot, whether rows were written by the API, by
SQL, by COPY or by a cascade. Appending locks nothing that others need, so writers do not wait for each other. About one
in fifty such statements merges the rows of its lists that no other transaction is merging.

The migration `row_counts` creates the triggers and counts what exists. A list of another table, such as an entity of
your own, is counted by `count(*)`. Not covered: triggers that are switched off (`session_replication_role`); count
again after that, as the migration does.
"""

from sqlalchemy import BigInteger, Identity, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base

ALL_ROWS = 0
"""The `owner_id` of a list that has no owner."""


class RowCount(Base):
    """A part of the number of visible rows in a table's list: all of them, or those of one owner."""

    __tablename__ = "row_count"

    list: Mapped[str] = mapped_column(String(63), primary_key=True)
    owner_id: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, init=False)
    count: Mapped[int] = mapped_column(BigInteger)
