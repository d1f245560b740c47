"""Captures at several places of a packet's way at once: the words of ``/v1/captures`` and of the calls to agents."""

from __future__ import annotations

import msgspec


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One place where frames are seen."""

    name: str
    """``HOST:DEVICE``; the name of the interface in the file."""
    host: str
    kind: str
    """tap, qbr, qvb, qvo, br-int, nic, qr, qg, dhcp."""
    device: str
    namespace: str = ""
    mirror: str = ""
    """A bridge of Open vSwitch: all that passes in it is copied to a device made for the capture."""


class StartCapture(msgspec.Struct, frozen=True, kw_only=True):
    """``capture.start``: result is CaptureStarted. The capture ends by itself after ``seconds``, or when nobody reads."""

    id: str
    hops: list[Hop]
    filter: str = ""
    """A capture filter of libpcap. It is also tried on what is inside a VLAN tag."""
    seconds: float = 60.0
    snaplen: int = 65535


class CaptureStarted(msgspec.Struct, frozen=True, kw_only=True):
    hops: list[str]
    """Names of those that are listened at."""
    refused: dict[str, str] = {}
    """Names of the others, with the reason."""


class ReadCapture(msgspec.Struct, frozen=True, kw_only=True):
    """``capture.read``: what came after frame number ``after``; waits a little for something to come."""

    id: str
    after: int = 0
    wait_s: float = 0.25


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """``data`` is what was kept of it, ``length`` what it had on the wire."""

    hop: str
    time_ns: int
    length: int
    data: bytes


class CapturedFrames(msgspec.Struct, frozen=True, kw_only=True):
    frames: list[Frame]
    next: int
    """What to say as ``after`` the next time."""
    done: bool
    """The capture has ended and everything is read."""
    lost: int = 0
    """Frames that nobody fetched in time."""


class StopCapture(msgspec.Struct, frozen=True, kw_only=True):
    """``capture.stop``: nothing of it is left afterwards. Done also when there is none."""

    id: str
