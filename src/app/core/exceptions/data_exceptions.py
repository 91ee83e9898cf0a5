"""The errors of the data layer, which are independent of HTTP."""


class RowNotFoundError(Exception):
    """No such row, or none that the caller may reach; `what` is the entity's name in messages."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")
        self.what = what
