"""Announces new addresses of routers to their neighbours, without keeping the loop waiting."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

from virga.agent import gratuitous
from virga.lib.log import log_for
from virga.lib.run import in_namespace

log = log_for(__name__)


class Announcer:
    """Starts one short-lived sender a namespace and change. Idempotent: neighbours only hear the truth again."""

    def __call__(self, namespace: str, pairs: Sequence[tuple[str, str]]) -> None:
        words = [
            word
            for device, address in pairs
            if device.startswith(("qr-", "qg-")) and not address.startswith("fe80:")
            for word in (device, address.partition("/")[0])
        ]
        if not words:
            return
        argv = in_namespace(namespace, sys.executable, "-I", "-S", gratuitous.__file__, *words)
        try:
            sender = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            log.warning("new addresses were not announced", namespace=namespace, reason=str(error))
            return
        threading.Thread(target=sender.wait, name=f"announce-{namespace}", daemon=True).start()
