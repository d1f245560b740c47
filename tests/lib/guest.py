"""The guest image for tests that boot machines, and a serial console to speak to them."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from virga.lab.guest.build import build

ROOT = Path(__file__).resolve().parents[2]


def guest_directory() -> Path:
    """Where the built guest image is; builds it when it is not there yet."""
    directory = Path(os.environ.get("VIRGA_GUEST_DIR") or ROOT / ".cache" / "guest")
    build(directory, progress=lambda text: None)
    return directory


class SerialConsole:
    """Someone at the terminal of a guest."""

    def __init__(self, path: Path, limit_s: float = 90) -> None:
        directory = os.open(path.parent, os.O_PATH)
        try:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        self._limit_s = limit_s
        self._seen = b""

    def expect(self, text: str) -> str:
        """Read until ``text`` comes; gives all that came up to it."""
        wanted = text.encode()
        deadline = time.monotonic() + self._limit_s
        while wanted not in self._seen:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self._socket.recv(65536)
            except TimeoutError:
                raise AssertionError(f"the guest did not say {text!r} but {self._seen[-2000:]!r}") from None
            assert more, f"the console closed before {text!r}; it said {self._seen[-2000:]!r}"
            self._seen += more
        before, _, self._seen = self._seen.partition(wanted)
        return before.decode(errors="replace")

    def say(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def log_in(self, user: str = "cirros", password: str = "gocubsgo") -> None:
        self.expect("login:")
        self.say(user)
        self.expect("assword:")
        self.say(password)
        self.expect("$ ")

    def run(self, command: str) -> str:
        """What a command in the guest prints."""
        self.say(f"{command}; echo done''-marker")
        output = self.expect("done-marker")
        self.expect("$ ")
        return output.partition("\n")[2].replace("\r", "").strip()

    def close(self) -> None:
        self._socket.close()
