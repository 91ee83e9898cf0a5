"""Hashing of passwords. A bcrypt hash takes a quarter of a second on one core, so hashes are computed in turns.

- As many threads as the process has cores hash, at a low priority: the event loop and other requests go first.
- All that hashes waits in one queue (`FairQueue`): logins, registrations and changed passwords. It has a lane for each
  address and each of the two purposes, checking and setting a password, and the lanes take turns. So a flood from one
  address delays the others by one hash, and a flood of registrations does not delay the logins of its own address.
- Waiting is bounded: per lane, in all, and in time. Beyond that `QueueFullError` is raised at once.
- A client that disconnects loses its place, and its password is not hashed.
"""

from app.core.passwords.fair_queue import ClientLeftError, FairQueue, QueueFullError
from app.core.passwords.hasher import PasswordHasher, open_password_hasher

__all__ = ["ClientLeftError", "FairQueue", "PasswordHasher", "QueueFullError", "open_password_hasher"]
