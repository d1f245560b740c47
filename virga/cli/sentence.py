"""Errors that a person can do something about: they become one sentence and exit status 1, never a traceback."""

from __future__ import annotations


def expected_errors() -> tuple[type[Exception], ...]:
    """Imported late: most commands end well."""
    from virga.lab.checks import CheckError
    from virga.lab.cloud import StartError
    from virga.lab.holder import HolderError
    from virga.lab.outside import OutsideError
    from virga.lab.wire import WireError
    from virga.lib.run import CommandError
    from virga.settings import SettingsError

    # OSError: a full disk, a file of somebody else; its text names the file.
    return CheckError, StartError, HolderError, OutsideError, WireError, CommandError, SettingsError, OSError
