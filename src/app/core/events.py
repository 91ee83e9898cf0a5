"""What happens to logins and sessions, for those who count it."""

from typing import Literal


class SecurityEvents:
    """Each method is called when its event happens; telemetry replaces them by ones that count."""

    def login(self, outcome: Literal["success", "failure", "locked_out"]) -> None:
        """A password was right or wrong, or was not compared because of the lockout."""

    def session_revoked(self, reason: Literal["logout", "reuse", "password_change"]) -> None:
        """By its user, because a retired refresh token was used again, or with all sessions of the user."""
