"""What cached responses show: endpoints that cache name these owners, and what changes one drops all of its entries."""

from app.core.utils.cache import Owner

USER = Owner("username")
TIER = Owner("tier_name")
