"""``openrc`` and ``clouds.yaml``: how clients get in. For their owner only, since they hold passwords."""

from __future__ import annotations

import contextlib
import os
import sys
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
    """``virga`` is the administrator, ``demo`` an ordinary member."""
    return [
        Account("virga", "admin", "admin", _password(settings, "admin_password")),
        Account("demo", "demo", "demo", _password(settings, "demo_password")),
    ]


def _password(settings: Settings, name: str) -> str:
    path = settings.state_dir / name
    return path.read_text().strip() if path.exists() else str(getattr(settings, name))


def auth_url(settings: Settings) -> str:
    return settings.endpoint + "/identity/v3"


def places(settings: Settings) -> list[Path]:
    """The state directory, and the directory above it if that is where a person works with the cloud."""
    state_dir = settings.state_dir
    return [state_dir, state_dir.parent] if state_dir.name == ".virga" else [state_dir]


def write(settings: Settings) -> list[Path]:
    """Write the files to their places, except over a file that is somebody else's."""
    admin, demo = accounts(settings)
    files = {
        "openrc": openrc(settings, admin),
        "openrc-demo": openrc(settings, demo),
        "clouds.yaml": clouds_yaml(settings),
    }
    written = []
    for place in places(settings):
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
    programs = Path(sys.executable).parent
    if (programs / "openstack").exists():
        lines.append(f'case ":$PATH:" in *:{programs}:*) ;; *) export PATH="{programs}:$PATH" ;; esac')
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


def remove(settings: Settings) -> None:
    """Remove what ``write`` wrote outside the state directory, if it is of this cloud. Idempotent."""
    for place in places(settings)[1:]:
        for name in ("openrc", "openrc-demo", "clouds.yaml"):
            path, ours = place / name, settings.state_dir / name
            if path.exists() and ours.exists() and path.read_text(errors="replace") == ours.read_text():
                path.unlink()
