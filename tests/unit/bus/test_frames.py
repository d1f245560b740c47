"""Frames: whole messages come out however the bytes were cut."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virga.bus.client import BusClient, Disconnected
from virga.bus.frames import Decoder, FrameError, encode
from virga.contract.items import Network
from virga.contract.messages import AnyMessage, Hello, Reports, State

MESSAGES: list[AnyMessage] = [
    Hello(host="host1"),
    State(epoch="e", revision=3, full=True, items=[Network(key="n", network_type="flat")]),
    Reports(revision=3),
]


@given(st.lists(st.integers(1, 60), max_size=40))
def test_messages_survive_any_cut(cuts: list[int]) -> None:
    data = b"".join(encode(message) for message in MESSAGES)
    decoder, found = Decoder(), []
    for cut in cuts:
        found += decoder.feed(data[:cut])
        data = data[cut:]
    found += decoder.feed(data)
    assert found == MESSAGES


def test_what_is_not_a_message_is_refused() -> None:
    with pytest.raises(FrameError, match="does not hold a message"):
        Decoder().feed(b"\x00\x00\x00\x02{}")
    with pytest.raises(FrameError, match="longer than"):
        Decoder().feed(b"\xff\xff\xff\xff")


def test_client_sends_receives_and_notices_the_end() -> None:
    ours, theirs = socket.socketpair()
    client = BusClient(ours)
    with theirs:
        client.send(MESSAGES[0])
        assert Decoder().feed(theirs.recv(1000)) == MESSAGES[:1]
        theirs.sendall(encode(MESSAGES[1]) + encode(MESSAGES[2]))
        assert [client.receive(), client.receive()] == MESSAGES[1:]
    with pytest.raises(Disconnected):
        client.receive()
    client.close()
