"""Speaks to the iSCSI target daemon over its control socket, as ``tgtadm`` does.

Not by ``tgtadm`` itself, because that takes CHAP passwords as arguments, which every user of the
machine can read in the list of processes.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

_REQUEST = struct.Struct("<II64sIiQQ6I")
_ANSWER = struct.Struct("<II")
_SYSTEM, _TARGET, _UNIT, _CONNECTION, _ACCOUNT = 0, 1, 2, 6, 7
_NEW, _DELETE, _SHOW, _BIND = 0, 1, 2, 3
_NO_LUN = 2**64 - 1
_NO_ACCOUNT = 15
_ERRORS = {
    2: "no memory", 3: "no such target driver", 4: "no such target", 5: "no such logical unit", 6: "no such session",
    7: "no such connection", 9: "the target exists", 11: "the logical unit exists", 14: "the account exists",
    15: "no such account", 17: "invalid request", 19: "the target is in use", 20: "the logical unit is in use",
    23: "unknown parameter",
}  # fmt: skip


class TgtError(Exception):
    """The daemon refused, or does not answer."""

    def __init__(self, attempted: str, code: int, reason: str = "") -> None:
        super().__init__(f"{attempted}: {reason or _ERRORS.get(code, f'error {code}')}")
        self.code = code


@dataclass(frozen=True, slots=True)
class ActualTarget:
    """A target as the daemon has it."""

    tid: int
    iqn: str
    backing: str = ""
    accounts: tuple[str, ...] = ()
    connections: tuple[tuple[int, int], ...] = field(default=())
    """Session and connection ids of the initiators that are logged in."""


class TgtControl:
    """One daemon."""

    def __init__(self, control_socket: Path) -> None:
        self._socket = control_socket

    def pid(self) -> int:
        """The process that listens, as the kernel says."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iII", credentials)[0])

    def alive(self) -> bool:
        try:
            self.targets()
        except TgtError:
            return False
        return True

    def targets(self) -> list[ActualTarget]:
        return parse_targets(self._ask("list targets", _TARGET, _SHOW))

    def new_target(self, tid: int, iqn: str) -> None:
        self._ask(f"create target {iqn}", _TARGET, _NEW, tid, f"targetname={iqn}")

    def new_unit(self, tid: int, path: str) -> None:
        """LUN 1. LUN 0 is the controller that every target has."""
        self._ask(f"export {path}", _UNIT, _NEW, tid, f"path={path}", lun=1)

    def new_account(self, user: str, password: str) -> None:
        """Replaces an account of that name: the password may be another one."""
        try:
            self._ask("remove account", _ACCOUNT, _DELETE, parameters=f"user={user}")
        except TgtError as error:
            if error.code != _NO_ACCOUNT:
                raise
        self._ask("create account", _ACCOUNT, _NEW, parameters=f"user={user},password={password}")

    def bind_account(self, tid: int, user: str) -> None:
        self._ask(f"bind account to target {tid}", _ACCOUNT, _BIND, tid, f"user={user}")

    def delete_account(self, user: str) -> None:
        self._ask("remove account", _ACCOUNT, _DELETE, parameters=f"user={user}")

    def open_to_all(self, tid: int) -> None:
        """Any address may log in; the account is what guards."""
        self._ask(f"open target {tid}", _TARGET, _BIND, tid, "initiator-address=ALL")

    def delete_target(self, target: ActualTarget) -> None:
        """Also while initiators are logged in: they lose the disk."""
        for session, connection in target.connections:
            self._ask(
                f"end a session of {target.iqn}",
                _CONNECTION,
                _DELETE,
                target.tid,
                sid=session,
                cid=connection,
            )
        self._ask(f"remove target {target.iqn}", _TARGET, _DELETE, target.tid, force=1)

    def end(self) -> None:
        """The daemon ends when it has no targets; TERM it would ignore while it has some."""
        self._ask("end the daemon", _SYSTEM, _DELETE)

    def _ask(
        self,
        attempted: str,
        mode: int,
        operation: int,
        tid: int = -1,
        parameters: str = "",
        *,
        lun: int = _NO_LUN,
        sid: int = 0,
        cid: int = 0,
        force: int = 0,
    ) -> str:
        tail = parameters.encode() + b"\0" if parameters else b""
        size = _REQUEST.size + len(tail)
        request = _REQUEST.pack(mode, operation, b"iscsi", size, tid, sid, lun, cid, 0, 0, 0, 0, force)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(self._socket))
                connection.sendall(request + tail)
                code, length = _ANSWER.unpack(_read(connection, _ANSWER.size))
                text = _read(connection, length - _ANSWER.size) if length > _ANSWER.size else b""
        except (OSError, EOFError) as error:
            raise TgtError(attempted, -1, f"the target daemon does not answer ({error})") from error
        if code:
            raise TgtError(attempted, code)
        return text.decode(errors="replace").rstrip("\0")


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError("it closed the connection")
        data += more
    return data


def parse_targets(text: str) -> list[ActualTarget]:
    """The text that ``tgtadm --op show --mode target`` prints."""
    targets = []
    for block in re.split(r"^(?=Target \d+: )", text, flags=re.MULTILINE):
        head = re.match(r"Target (\d+): (\S+)", block)
        if head is None:
            continue
        unit = re.search(r"LUN: 1\n.*?Backing store path: (\S+)", block, re.DOTALL)
        accounts = re.search(r"Account information:\n(.*?)ACL information:", block, re.DOTALL)
        connections = []
        session = 0
        for line in block.splitlines():
            if found := re.match(r"\s+I_T nexus: (\d+)", line):
                session = int(found.group(1))
            elif found := re.match(r"\s+Connection: (\d+)", line):
                connections.append((session, int(found.group(1))))
        targets.append(
            ActualTarget(
                tid=int(head.group(1)),
                iqn=head.group(2),
                backing=unit.group(1) if unit else "",
                accounts=tuple(accounts.group(1).split()) if accounts else (),
                connections=tuple(connections),
            )
        )
    return targets
