"""Drivers in memory: they keep what is wanted as if it were so, and fail when told to."""
