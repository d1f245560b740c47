"""TCP both ways, for tests inside namespaces: ``serve PORT``, ``ask HOST PORT``, ``talk HOST PORT``."""

from __future__ import annotations

import socket
import sys
import threading

TIMEOUT_S = 4.0


def serve(port: int) -> None:
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    listener.listen(16)
    print("ready", flush=True)
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=_echo, args=(connection, peer[0]), daemon=True).start()


def _echo(connection: socket.socket, peer: str) -> None:
    with connection:
        connection.sendall(f"{peer.removeprefix('::ffff:')}\n".encode())
        while data := connection.recv(65536):
            connection.sendall(data)


def ask(host: str, port: int) -> None:
    """Prints the address that the server saw, after a long message came back whole."""
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        stream = connection.makefile("rwb")
        seen = stream.readline().decode().strip()
        message = b"x" * 100_000 + b"\n"
        threading.Thread(target=connection.sendall, args=(message,), daemon=True).start()
        if stream.readline() == message:
            print(seen)


def talk(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        stream = connection.makefile("rwb")
        stream.readline()
        print("connected", flush=True)
        for line in sys.stdin:
            try:
                connection.sendall(line.encode())
                print(stream.readline().decode().strip() or "closed", flush=True)
            except OSError:
                print("closed", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        {"ask": ask, "talk": talk}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
