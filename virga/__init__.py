"""Virga: an OpenStack-compatible cloud that one command starts, with a real network."""

__version__ = "0.1.0"
