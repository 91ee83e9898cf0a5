"""What the data layer says without speaking HTTP."""


class RowNotFoundError(Exception):
    """No such row, or none that the caller may reach; `what` names the entity as people call it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")
        self.what = what
