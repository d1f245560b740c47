"""A connection to ovsdb-server: a mirror of the few columns that matter, and transactions.

Speaks the protocol of RFC 7047 over a unix socket. One thread receives; a lost connection is made
again and the mirror filled anew.
"""

from __future__ import annotations

import codecs
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from virga.lib.log import log_for

log = log_for(__name__)

Row = dict[str, Any]
Operation = Mapping[str, Any]
Columns = Mapping[str, Sequence[str]]

PAUSE_S = 0.2


class OvsdbError(Exception):
    """ovsdb-server refused, is not there, or does not answer."""


def ovs_map(values: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in sorted(values.items())]]


def ovs_set(values: Sequence[Any]) -> list[Any]:
    return ["set", list(values)]


def from_ovs(value: Any) -> Any:
    """OVSDB's spelling to ours: maps to dict, sets to list (of one: the value), uuids to text."""
    if isinstance(value, list) and len(value) == 2:
        kind, content = value
        if kind == "map":
            return {from_ovs(key): from_ovs(item) for key, item in content}
        if kind == "set":
            return [from_ovs(item) for item in content]
        if kind in ("uuid", "named-uuid"):
            return content
    return value


def as_list(value: Any) -> list[Any]:
    """A column that may hold any number of values."""
    return value if isinstance(value, list) else [value]


def as_one(value: Any) -> Any:
    """A column that holds a value or none."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


class OvsdbClient:
    """``tables[name][uuid]`` is a row; hold ``changed`` (a condition) while reading."""

    def __init__(self, path: Path, columns: Columns, on_change: Callable[[], None]) -> None:
        self._path = path
        self._columns = columns
        self._on_change = on_change
        self._socket: socket.socket | None = None
        self._next_id = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._send_lock = threading.Lock()
        self._closed = threading.Event()
        self.changed = threading.Condition()
        self.filled = False
        self.tables: dict[str, dict[str, Row]] = {name: {} for name in columns}
        threading.Thread(target=self._receive_for_ever, name="ovsdb", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        if self._socket is not None:
            self._socket.close()

    def wait_filled(self, timeout_s: float) -> None:
        """Until the mirror holds the database; OvsdbError when it does not in time."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.filled, timeout_s):
                raise OvsdbError(f"no Open vSwitch database answers at {self._path}")

    def transact(self, operations: Sequence[Operation], timeout_s: float = 10.0) -> list[Any]:
        """All or nothing. OvsdbError says which operation was refused."""
        answer = self._ask("transact", ["Open_vSwitch", *operations], timeout_s)
        results = answer.get("result") or []
        errors = [
            f"{r['error']}: {r.get('details', '')}" for r in results if isinstance(r, dict) and "error" in r
        ]
        if answer.get("error") or errors:
            raise OvsdbError(f"Open vSwitch database: {answer.get('error') or '; '.join(errors)}")
        return list(results)

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Until the mirror fulfils ``predicate``."""
        with self.changed:
            return self.changed.wait_for(predicate, timeout_s)

    def _ask(self, method: str, parameters: Any, timeout_s: float) -> dict[str, Any]:
        with self._send_lock:
            self._next_id += 1
            number = self._next_id
            self._send({"method": method, "params": parameters, "id": number})
        with self.changed:
            arrived = self.changed.wait_for(
                lambda: number in self._answers or self._socket is None, timeout_s
            )
            answer = self._answers.pop(number, None)
        if answer is None:
            why = f"no answer within {timeout_s:g} s" if not arrived else "the connection was lost"
            raise OvsdbError(f"Open vSwitch database: {method}: {why}")
        return answer

    def _send(self, message: Any) -> None:
        connection = self._socket
        if connection is None:
            raise OvsdbError(f"no Open vSwitch database answers at {self._path}")
        try:
            connection.sendall(json.dumps(message).encode())
        except OSError as error:
            raise OvsdbError(f"Open vSwitch database: sending: {error}") from error

    def _receive_for_ever(self) -> None:
        while not self._closed.is_set():
            try:
                self._one_connection()
            except (OSError, ValueError) as error:
                if self.filled:
                    log.warning("lost the Open vSwitch database", reason=str(error))
            with self.changed:
                self._socket, self.filled = None, False
                self._answers.clear()
                self.changed.notify_all()
            self._closed.wait(PAUSE_S)

    def _one_connection(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self._path))
            self._socket = connection
            requests = {table: {"columns": list(columns)} for table, columns in self._columns.items()}
            self._send({"method": "monitor", "params": ["Open_vSwitch", None, requests], "id": 0})
            text, decode = "", codecs.getincrementaldecoder("utf-8")().decode
            decoder = json.JSONDecoder()
            while True:
                data = connection.recv(1 << 20)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                text += decode(data)
                text = self._take_all(text, decoder)

    def _take_all(self, text: str, decoder: json.JSONDecoder) -> str:
        """Handle every whole message; what is left begins the next one."""
        while text := text.lstrip():
            if text[-1] != "}":
                return text
            try:
                message, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                return text
            text = text[end:]
            self._take(message)
        return text

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("method") == "echo":
            with self._send_lock:
                self._send({"result": message["params"], "error": None, "id": message["id"]})
        elif message.get("method") == "update":
            self._update(message["params"][1])
        elif message.get("id") == 0:
            with self.changed:
                self.tables = {name: {} for name in self._columns}
            self._update(message["result"], filled=True)
        elif message.get("method") is None:
            with self.changed:
                self._answers[message["id"]] = message
                self.changed.notify_all()

    def _update(self, updates: dict[str, Any], *, filled: bool = False) -> None:
        with self.changed:
            for table, rows in updates.items():
                for uuid, change in rows.items():
                    new = change.get("new")
                    if new is None:
                        self.tables[table].pop(uuid, None)
                    else:
                        row = self.tables[table].setdefault(uuid, {"_uuid": uuid})
                        row |= {column: from_ovs(value) for column, value in new.items()}
            self.filled = self.filled or filled
            self.changed.notify_all()
        self._on_change()
