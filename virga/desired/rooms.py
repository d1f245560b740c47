"""The rooms whose objects reach hosts. A new room is one line here."""

from __future__ import annotations

from virga.desired import load_compute
from virga.desired.registry import Room

ROOMS: tuple[Room, ...] = (load_compute.ROOM,)
