"""Calls: one doing for one id, the first outcome for every repeat, errors in words."""

from __future__ import annotations

import queue
import threading

import msgspec

from virga.agent.calls import CallDispatcher, CallRegistry, NotFoundHere
from virga.contract.calls import VolumeDelete
from virga.contract.messages import Call, Reply


class Bench:
    def __init__(self) -> None:
        self.replies: queue.Queue[Reply] = queue.Queue()
        self.registry = CallRegistry()
        self.dispatcher = CallDispatcher(self.registry, self.replies.put)

    def ask(
        self, call_id: str, method: str = "volume.delete", arguments: bytes = b'{"volume_id":"v"}'
    ) -> None:
        self.dispatcher.dispatch(Call(id=call_id, method=method, arguments=msgspec.Raw(arguments)))

    def next(self) -> Reply:
        return self.replies.get(timeout=10)


def test_a_repeated_call_is_done_once_and_answered_again() -> None:
    bench, done = Bench(), []
    bench.registry.register("volume.delete", VolumeDelete, lambda call: done.append(call.volume_id))
    bench.ask("1")
    first = bench.next()
    bench.ask("1")
    assert bench.next() == first == Reply(id="1", result=msgspec.Raw(b"null"))
    bench.ask("2")
    bench.next()
    assert done == ["v", "v"]


def test_a_repeat_while_it_runs_is_answered_once() -> None:
    bench, gate, done = Bench(), threading.Event(), []

    def slow(call: VolumeDelete) -> None:
        gate.wait(10)
        done.append(call.volume_id)

    bench.registry.register("volume.delete", VolumeDelete, slow)
    bench.ask("1")
    bench.ask("1")
    gate.set()
    assert bench.next().id == "1"
    assert done == ["v"]
    assert bench.replies.empty()


def test_errors_say_what_and_of_what_type() -> None:
    bench = Bench()

    def refuse(call: VolumeDelete) -> None:
        raise NotFoundHere("no volume v here")

    def burst(call: VolumeDelete) -> None:
        raise ValueError("odd")

    bench.registry.register("volume.delete", VolumeDelete, refuse)
    bench.registry.register("volume.burst", VolumeDelete, burst)
    found = []
    for number, (method, arguments) in enumerate(
        [
            ("volume.delete", b'{"volume_id":"v"}'),
            ("volume.burst", b'{"volume_id":"v"}'),
            ("volume.delete", b"{}"),
            ("no.such", b"{}"),
        ]
    ):
        bench.ask(str(number), method, arguments)
        reply = bench.next()
        found.append((reply.error_type, reply.error.partition(":")[0]))
    assert found == [
        ("NotFound", "no volume v here"),
        ("ValueError", "volume.burst"),
        ("BadArguments", "volume.delete"),
        ("NoSuchMethod", "this host knows no call no.such"),
    ]
