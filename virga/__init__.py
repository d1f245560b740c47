"""Virga: an OpenStack-compatible cloud that one command starts, with a real network."""
