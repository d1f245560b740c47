"""How a message becomes bytes: a 4-byte big-endian length, then one message as JSON."""

from __future__ import annotations

import struct

import msgspec

from virga.contract.messages import AnyMessage

MAX_FRAME = 256 * 1024 * 1024
"""A full state of a very large host stays far below; anything above is a broken peer."""

_LENGTH = struct.Struct(">I")
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)


class FrameError(Exception):
    """The peer sent something that is not a frame; the connection is of no more use."""


def encode(message: AnyMessage) -> bytes:
    """One frame."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Collects bytes as they come and gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[AnyMessage]:
        """All messages that are complete with ``data``."""
        self._buffer += data
        messages: list[AnyMessage] = []
        position = 0
        while len(self._buffer) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, position)
            if length > MAX_FRAME:
                raise FrameError(f"a frame of {length} bytes is longer than {MAX_FRAME} bytes")
            start = position + _LENGTH.size
            if len(self._buffer) < start + length:
                break
            messages.append(_decode(bytes(memoryview(self._buffer)[start : start + length])))
            position = start + length
        del self._buffer[:position]
        return messages


def _decode(body: bytes) -> AnyMessage:
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"a frame does not hold a message: {error}") from error
