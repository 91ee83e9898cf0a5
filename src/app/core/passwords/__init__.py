"""Hashing of passwords: bcrypt costs a quarter of a second of one core, so it is done in turns.

- As many threads as the process has cores hash, at a low priority: the event loop and other requests go first.
- All that hashes waits in one queue (`FairQueue`): logins, registrations and changed passwords. It has a lane for each
  address and each of the two purposes, checking and setting a password, and the lanes take turns. So a flood from one
  address delays the others by one hash, and a flood of registrations does not delay the logins of its own address.
- Waiting is bounded: per lane, in all, and in time. Beyond that `QueueFullError` is raised at once.
- A client that leaves gives up its place, and what it waited for is not done.
"""

from app.core.passwords.fair_queue import ClientLeftError, FairQueue, QueueFullError
from app.core.passwords.hasher import PasswordHasher, open_password_hasher

__all__ = ["ClientLeftError", "FairQueue", "PasswordHasher", "QueueFullError", "open_password_hasher"]
