"""``python -m virga.agent --config FILE``: the agent of one host, inside that host's namespaces."""

from __future__ import annotations

import argparse
import faulthandler
import signal
import sys
from pathlib import Path

import msgspec

from virga.agent.config import ConfigError, load
from virga.agent.wiring import Agent, build
from virga.lib import log


def main(argv: list[str] | None = None) -> int:
    """Run until told to end; 2 when the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="virga-agent", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file that says what this host is")
    parser.add_argument("--drivers", choices=("real", "fake"), help="fake: keep everything in memory")
    options = parser.parse_args(argv)
    try:
        config = load(options.config)
    except ConfigError as error:
        print(f"virga-agent: {error}", file=sys.stderr)
        return 2
    if options.drivers:
        config = msgspec.structs.replace(config, drivers=options.drivers)
    if config.log_directory:
        log.start(f"agent-{config.host}", Path(config.log_directory), config.log_level)
    else:
        log.start_stderr(f"agent-{config.host}", config.log_level)
    faulthandler.enable()
    agent = build(config)
    _obey_signals(agent)
    agent.start()
    agent.run()
    return 0


def _obey_signals(agent: Agent) -> None:
    """TERM and INT end the agent and leave the host as it is; HUP reads the state file again."""
    signal.signal(signal.SIGTERM, lambda *_: agent.stop())
    signal.signal(signal.SIGINT, lambda *_: agent.stop())

    def reload(*_: object) -> None:
        if agent.file_feed is not None:
            agent.file_feed.reload()

    signal.signal(signal.SIGHUP, reload)


if __name__ == "__main__":
    sys.exit(main())
