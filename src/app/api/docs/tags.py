"""The groups of operations, in the order in which the pages show them."""

TAGS = [
    {"name": "login", "description": "Log in, renew the access token, log out."},
    {"name": "users", "description": "Register, and read, change or delete users."},
    {"name": "posts", "description": "Posts, each under the username of its author."},
    {"name": "tiers", "description": "Groups of users with the same rate limits. Superusers manage them."},
    {"name": "rate limits", "description": "How many requests to a path each user of a tier may send."},
    {"name": "tasks", "description": "Work that a worker does in the background."},
    {"name": "health", "description": "Probes for load balancers and orchestrators."},
]
"""A tag that is not listed is shown before the last, described by the docstring of the file that has its endpoints."""
