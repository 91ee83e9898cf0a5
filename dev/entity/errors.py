"""What is wrong with a command, for the person who gave it."""


class EntityError(Exception):
    """One line: what is wrong, and the right form."""
