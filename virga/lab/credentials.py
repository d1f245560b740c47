"""``openrc`` and ``clouds.yaml``: how clients get in. For their owner only, since they hold passwords."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from virga.settings import Settings

HEAD = "# Written by `virga up`; overwritten at each start.\n"


@dataclass(frozen=True, slots=True)
class Account:
    """One user in one project."""

    cloud: str
    username: str
    project: str
    password: str


def accounts(settings: Settings) -> list[Account]:
    """``virga`` is the administrator, ``virga-demo`` an ordinary member."""
    return [
        Account("virga", "admin", "admin", _password(settings, "admin_password")),
        Account("virga-demo", "demo", "demo", _password(settings, "demo_password")),
    ]


def _password(settings: Settings, name: str) -> str:
    path = settings.state_dir / name
    return path.read_text().strip() if path.exists() else str(getattr(settings, name))


def auth_url(settings: Settings) -> str:
    return settings.endpoint + "/identity/v3"


def write(settings: Settings, directory: Path) -> list[Path]:
    """Write both files into the state directory and, where they are not somebody else's, into ``directory``."""
    admin, demo = accounts(settings)
    files = {
        "openrc": openrc(settings, admin),
        "openrc-demo": openrc(settings, demo),
        "clouds.yaml": clouds_yaml(settings),
    }
    written = []
    for place in (settings.state_dir, directory):
        for name, text in files.items():
            path = place / name
            if path.exists() and not path.read_text(errors="replace").startswith(HEAD):
                continue
            _write_private(path, text)
            written.append(path)
    return written


def openrc(settings: Settings, account: Account) -> str:
    """Shell variables of one account."""
    variables = {
        "OS_AUTH_URL": auth_url(settings),
        "OS_USERNAME": account.username,
        "OS_PASSWORD": account.password,
        "OS_PROJECT_NAME": account.project,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_REGION_NAME": settings.region,
    }
    lines = [f"export {name}={_quoted(value)}" for name, value in variables.items()]
    return HEAD + "unset OS_CLOUD OS_SYSTEM_SCOPE OS_TOKEN OS_AUTH_TYPE\n" + "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def clouds_yaml(settings: Settings) -> str:
    """Both accounts, for ``openstack --os-cloud`` and openstacksdk."""
    lines = ["clouds:"]
    for account in accounts(settings):
        lines += [
            f"  {account.cloud}:",
            "    auth:",
            f"      auth_url: {auth_url(settings)}",
            f"      username: {account.username}",
            f"      password: {_quoted_yaml(account.password)}",
            f"      project_name: {account.project}",
            "      user_domain_name: Default",
            "      project_domain_name: Default",
            f"    region_name: {settings.region}",
            "    identity_api_version: 3",
        ]
    return HEAD + "\n".join(lines) + "\n"


def _quoted_yaml(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    # Under sudo they are for the person, not for root.
    with contextlib.suppress(OSError, KeyError, ValueError):
        os.chown(fresh, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))
    fresh.replace(path)


def remove(settings: Settings, directory: Path) -> None:
    """Remove what ``write`` wrote into ``directory``, if it is of this cloud. Idempotent."""
    for name in ("openrc", "openrc-demo", "clouds.yaml"):
        path, ours = directory / name, settings.state_dir / name
        if path.exists() and ours.exists() and path.read_text(errors="replace") == ours.read_text():
            path.unlink()
