"""True actions asked of this host: found by method, run in threads, remembered by id.

A call that comes a second time does nothing twice: while it runs the second is ignored (the first
answers both), afterwards it gets the first outcome again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from virga.contract.messages import Call, Reply
from virga.lib.log import bind, log_for

log = log_for(__name__)

REMEMBERED = 2000
THREADS = 32
LARGEST_KEPT = 64 * 1024


class CallError(Exception):
    """An action that could not be done, in words for the person who asked. ``error_type`` is for programs."""

    error_type = "CallError"


class NotFoundHere(CallError):
    """What the call is about is not on this host."""

    error_type = "NotFound"


class CallRegistry:
    """Method to function. Owners of actions register at wiring time."""

    def __init__(self) -> None:
        self._methods: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {}

    def register(self, method: str, arguments: type[Any], function: Callable[[Any], Any]) -> None:
        """``function(arguments) -> struct or JSON value``; it may raise CallError."""
        self._methods[method] = (arguments, function)

    def find(self, method: str) -> tuple[type[Any], Callable[[Any], Any]] | None:
        return self._methods.get(method)


class CallDispatcher:
    """Runs calls; ``send`` carries the replies."""

    def __init__(self, registry: CallRegistry, send: Callable[[Reply], None]) -> None:
        self._registry = registry
        self._send = send
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="call")
        self._outcomes: OrderedDict[str, Reply | None] = OrderedDict()
        self._lock = threading.Lock()

    def dispatch(self, call: Call) -> None:
        """Start the call, or answer from memory. Returns at once."""
        with self._lock:
            if call.id in self._outcomes:
                known = self._outcomes[call.id]
            else:
                known = None
                self._outcomes[call.id] = None
                self._threads.submit(self._run, call)
        if known is not None:
            self._send(known)

    def close(self) -> None:
        """Start nothing more; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, call: Call) -> None:
        with bind(request_id=call.request_id, call=call.id):
            reply = self._outcome(call)
        with self._lock:
            self._outcomes[call.id] = _worth_keeping(reply)
            self._forget_old()
        self._send(reply)

    def _forget_old(self) -> None:
        while len(self._outcomes) > REMEMBERED:
            oldest = next(iter(self._outcomes))
            if self._outcomes[oldest] is None:
                return
            del self._outcomes[oldest]

    def _outcome(self, call: Call) -> Reply:
        found = self._registry.find(call.method)
        if found is None:
            return _refusal(call, "NoSuchMethod", f"this host knows no call {call.method}")
        arguments_type, function = found
        try:
            arguments = msgspec.json.decode(call.arguments, type=arguments_type)
            result = msgspec.json.encode(function(arguments))
        except CallError as error:
            log.warning("call refused", method=call.method, reason=str(error))
            return _refusal(call, error.error_type, str(error))
        except msgspec.ValidationError as error:
            return _refusal(call, "BadArguments", f"{call.method}: {error}")
        except Exception as error:
            log.exception("call failed", method=call.method)
            return _refusal(call, type(error).__name__, f"{call.method}: {error}")
        log.info("call done", method=call.method)
        return Reply(id=call.id, result=msgspec.Raw(result))


def _worth_keeping(reply: Reply) -> Reply:
    """A large answer is given once: to keep thousands of them would fill the memory."""
    if len(bytes(reply.result)) <= LARGEST_KEPT:
        return reply
    return Reply(
        id=reply.id,
        error="the answer was given before, and was too large to keep",
        error_type="AnsweredBefore",
    )


def _refusal(call: Call, error_type: str, text: str) -> Reply:
    return Reply(id=call.id, error=text or error_type, error_type=error_type)
