"""Addresses, routes and sysctls inside our namespaces, by ``ip -batch``: one process to read, one to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from virga.agent.drivers.addressing import (
    Actual,
    Addressing,
    Plan,
    parse_devices,
    parse_documents,
    parse_routes,
    plan,
    stranger,
)
from virga.agent.drivers.presence import Presence
from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, in_namespace, run

Announce = Callable[[str, Sequence[tuple[str, str]]], None]
"""Told the namespace and the ``(device, address)`` pairs that are new there."""


class AddressingError(Exception):
    """Something in a namespace could not be made so; the text names namespace and step."""


class AddressDriver:
    """Idempotent; not all-or-nothing: a refused route does not keep an address away. Mark: see addressing.py."""

    name = "addresses"

    def __init__(
        self,
        announce: Announce = lambda namespace, pairs: None,
        runner: Runner = run,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._announce = announce
        self._wake = wake
        self._run = runner
        self._wishes: Wishes[Addressing] = Wishes(self.name)
        self._presence = Presence()
        self._sysctls: dict[str, frozenset[tuple[str, str]]] = {}
        """What is known to be set, by namespace: sysctls are the slowest part to read."""

    def want(self, namespace: str, addressing: Addressing | None) -> None:
        self._wishes.want(namespace, addressing)
        if addressing is None:
            self._sysctls.pop(namespace, None)

    def outcome(self, namespace: str) -> Outcome:
        return self._wishes.outcome(namespace)

    def resync(self) -> None:
        self._sysctls.clear()
        self._wishes.doubt()

    def apply(self) -> Sequence[Failure]:
        places = {n: (n, [d.name for d in w.devices]) for n, w in self._wishes.wanted.items()}
        for namespace in self._presence.made_again(places):
            self._sysctls.pop(namespace, None)
            self._wishes.mark_stale([namespace])
        failures = self._wishes.settle(self._realise, (AddressingError, CommandError))
        if self._wishes.in_doubt:
            self._wake()
        return failures

    def prune(self) -> Sequence[Failure]:
        """Nothing: addresses and routes go with their device or namespace."""
        return []

    def check(self) -> Sequence[Difference]:
        found: list[Difference] = []
        for namespace, wanted in sorted(self._wishes.wanted.items()):
            try:
                found += self._check(namespace, wanted)
            except AddressingError as error:
                found.append(Difference(self.name, namespace, "missing", actual=str(error)))
        return found

    def _check(self, namespace: str, wanted: Addressing) -> list[Difference]:
        actual = self._read(namespace)
        step = plan(wanted, actual)
        missing = [Difference(self.name, namespace, "missing", wanted=d) for d in step.missing_devices]
        lines = [line_difference(self.name, namespace, line) for line in step.lines]
        sysctls = [
            Difference(self.name, f"{namespace} {key}", "differs", value, there)
            for key, value, there in self._differing_sysctls(namespace, wanted, actual)
        ]
        foreign = [
            Difference(self.name, namespace, "foreign", actual=what) for what in self._strangers(namespace)
        ]
        return [*missing, *lines, *sysctls, *foreign]

    def _strangers(self, namespace: str) -> list[str]:
        """Policy rules, permanent neighbours and routes that neither the kernel nor we put there."""
        questions = "rule show\nroute show\nneigh show nud permanent\n"
        four = self._run(("ip", "-n", namespace, "-4", "-j", "-batch", "-"), stdin=questions, check=False)
        six = self._run(("ip", "-n", namespace, "-6", "-j", "-batch", "-"), stdin=questions, check=False)
        return [
            what
            for answer in (four, six)
            for document in parse_documents(answer.stdout)
            for entry in document
            if (what := stranger(entry))
        ]

    def _realise(self, namespace: str, wanted: Addressing) -> None:
        step = self._step(namespace, wanted)
        # An address that went, or a link that came up, takes routes with it: look again.
        if any(line.startswith(("addr del", "link set")) for line in step.lines):
            again = self._step(namespace, wanted)
            step = Plan(again.lines, again.missing_devices, step.added + again.added)
        if step.missing_devices:
            raise AddressingError(f"{namespace}: device {', '.join(step.missing_devices)} is not there yet")

    def _step(self, namespace: str, wanted: Addressing) -> Plan:
        actual = self._read(namespace)
        self._set_sysctls(namespace, wanted, actual)
        step = plan(wanted, actual)
        if step.lines:
            self._write(namespace, step)
        if step.added:
            self._announce(namespace, step.added)
        return step

    def _read(self, namespace: str) -> Actual:
        try:
            both = self._run(("ip", "-n", namespace, "-j", "-batch", "-"), stdin="addr show\nroute show\n")
            six = self._run(("ip", "-n", namespace, "-6", "-j", "route", "show"))
        except CommandError as error:
            raise AddressingError(str(error)) from error
        documents = parse_documents(both.stdout)
        if not documents:
            raise AddressingError(f"{namespace}: ip says nothing")
        links, four = documents[0], documents[1] if len(documents) > 1 else []
        six_documents = parse_documents(six.stdout)
        routes = parse_routes(four, 4) | parse_routes(six_documents[0] if six_documents else [], 6)
        return Actual(parse_devices(links), routes)

    def _write(self, namespace: str, step: Plan) -> None:
        done = self._run(
            ("ip", "-force", "-n", namespace, "-batch", "-"), stdin="\n".join(step.lines) + "\n", check=False
        )
        problems = batch_problems(step.lines, done.stderr)
        if done.returncode != 0 and not problems:
            problems = [done.stderr.strip() or f"exit status {done.returncode}"]
        if problems:
            raise AddressingError(f"{namespace}: " + "; ".join(problems))

    def _set_sysctls(self, namespace: str, wanted: Addressing, actual: Actual) -> None:
        """Only those that differ; sysctls of devices that are not there yet wait for them."""
        present = _present_sysctls(wanted, actual)
        if self._sysctls.get(namespace, frozenset()) >= set(present) or not present:
            return
        differ = [f"{key}={value}" for key, value, _ in self._differing_sysctls(namespace, wanted, actual)]
        if differ:
            try:
                self._run(in_namespace(namespace, "sysctl", "-q", "-w", *differ))
            except CommandError as error:
                raise AddressingError(f"{namespace}: {error}") from error
        self._sysctls[namespace] = frozenset(present)

    def _differing_sysctls(
        self, namespace: str, wanted: Addressing, actual: Actual
    ) -> list[tuple[str, str, str]]:
        """Key, wanted and actual value."""
        present = _present_sysctls(wanted, actual)
        if not present:
            return []
        read = self._run(in_namespace(namespace, "sysctl", "-e", *(key for key, _ in present)), check=False)
        values = dict(line.split(" = ", 1) for line in read.stdout.splitlines() if " = " in line)
        found = [(key, value, values.get(key.replace("/", "."), value).strip()) for key, value in present]
        return [each for each in found if each[1] != each[2]]


def _present_sysctls(wanted: Addressing, actual: Actual) -> list[tuple[str, str]]:
    return [pair for pair in wanted.sysctls if _device_of(pair[0]) in {"", *actual.devices}]


def line_difference(driver: str, namespace: str, line: str) -> Difference:
    """A step that would be taken, as what is wrong now: ``addr del`` means that something is there too much."""
    kind = {"addr add": "missing", "route replace": "missing", "addr del": "extra", "route del": "extra"}.get(
        " ".join(line.split()[:2]), "differs"
    )
    return Difference(driver, namespace, kind, **{"actual" if kind == "extra" else "wanted": line})


def _device_of(key: str) -> str:
    """``net/ipv6/conf/qr-1/accept_ra`` -> ``qr-1``; empty for what concerns the whole namespace."""
    found = re.fullmatch(r"net/ipv[46]/conf/([^/]+)/[^/]+", key)
    return found.group(1) if found and found.group(1) not in {"all", "default"} else ""


def batch_problems(lines: Sequence[str], stderr: str) -> list[str]:
    """Pair what ``ip -force -batch`` complains about with the line that it complains about."""
    problems = []
    pending: list[str] = []
    for text in stderr.splitlines():
        found = re.match(r"Command failed -:(\d+)", text)
        if found is None:
            pending.append(text)
            continue
        line = lines[int(found.group(1)) - 1]
        problems.append(f"ip {line}: {' '.join(pending)}")
        pending = []
    return problems
