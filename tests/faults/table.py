"""The table that ``make faults`` prints, its last line, and the bar."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

NAMED_EXACTLY = 0.95
MEDIAN_S, WORST_S = 2.0, 10.0
LEAST_FAULTS = 60


@dataclass(frozen=True)
class Row:
    """One explanation. ``wrong`` says what was said instead, ``trouble`` what the suite itself could not do."""

    name: str
    path: str
    expected: str
    given: str
    seconds: float
    wrong: str = ""
    trouble: str = ""
    bystander: bool = False
    """A path that works while another one is broken: it may be UNKNOWN, too, where a host cannot be asked."""

    @property
    def is_healthy(self) -> bool:
        return self.name == "healthy"

    @property
    def right(self) -> bool:
        return not self.wrong and (self.expected == self.given or (self.bystander and bool(self.given)))


@dataclass
class Table:
    """Rows in the order in which they came; each is printed at once."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        mark = "ok " if row.right and not row.trouble else "BAD"
        line = f"{mark} {row.name:52.52} {row.path:26.26} {row.expected:18} {row.given or '-':18} {row.seconds:6.2f}"
        print(line, flush=True)
        for text in (row.wrong, row.trouble):
            if text:
                print(f"      {text}", flush=True)

    def _faults(self) -> list[Row]:
        return [row for row in self.rows if not row.is_healthy]

    def _healthy(self) -> list[Row]:
        return [row for row in self.rows if row.is_healthy]

    def _seconds(self) -> list[float]:
        return [row.seconds for row in self.rows if row.given] or [0.0]

    @property
    def passed(self) -> bool:
        """The bar. A run of few faults is judged by the same measures."""
        faults = self._faults()
        named = sum(row.right for row in faults) >= NAMED_EXACTLY * len(faults)
        quick = statistics.median(self._seconds()) < MEDIAN_S and max(self._seconds()) < WORST_S
        sound = not any(row.trouble for row in self.rows)
        return named and quick and sound and all(row.right for row in self._healthy())

    def counts(self) -> str:
        """How many of how many, without times."""
        faults, good = self._faults(), self._healthy()
        named = sum(row.right for row in faults)
        share = 100 * named / len(faults) if faults else 100.0
        accused = sum(not row.right for row in good)
        return (
            f"{len(faults)} faults, {named} named exactly ({share:.1f} %); "
            f"{len(good)} healthy paths, {accused} accused"
        )

    def totals(self) -> str:
        """The last line."""
        return (
            f"{self.counts()}; "
            f"median {statistics.median(self._seconds()):.2f} s, worst {max(self._seconds()):.2f} s; "
            f"{'passed' if self.passed else 'below the bar'}"
        )


def page(table: Table) -> str:
    """The table as a page of the documentation."""
    lines = [
        "# Faults, and what `virga explain` says of them",
        "",
        "`make faults` breaks a running lab of two hosts in each of these ways, sees that the packets stop, asks, and",
        'mends it. This page is made by `make faults ARGS="--page docs/faults.md"`.',
        "",
        "| fault | asked | answer |",
        "|---|---|---|",
    ]
    lines += [f"| {row.name} | `{row.path}` | {_answer(row)} |" for row in table.rows if not row.is_healthy]
    healthy = [row for row in table.rows if row.is_healthy]
    paths = dict.fromkeys(f"`{row.path}`" for row in healthy)
    lines += ["", "Paths that work, in every topology, are called `REACHABLE`: " + ", ".join(paths) + ".", ""]
    return "\n".join([*lines, f"{table.counts()}.", ""])


def _answer(row: Row) -> str:
    return f"`{row.given or '-'}`" + ("" if row.given == row.expected else f", should be `{row.expected}`")
