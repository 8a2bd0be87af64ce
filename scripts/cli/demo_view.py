"""What the demo shows: a live page on a terminal, lines elsewhere, a summary at the end."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from scripts.cli.demo_ledger import Ledger, percentile

WARMUP_S: Final = 5.0
"""Uploads of the first seconds meet an engine that still loads classes and compiles."""

_RECENT: Final = 5_000
_REFRESH_S: Final = 0.25
_PLAIN_EVERY_S: Final = 5.0
_COLOURS: Final = {
    "allow": "green",
    "remove": "bold red",
    "warn": "yellow",
    "shadowban": "magenta",
    "restrict": "yellow",
    "label": "cyan",
    "age_gate": "cyan",
    "review": "blue",
}


class View:
    """Shows a ledger while it fills.

    Args:
        console: where to.
        ledger: what to show.
    """

    def __init__(self, console: Console, ledger: Ledger) -> None:
        self._console = console
        self._ledger = ledger
        self._phase = "starting"
        self._live: Live | None = None
        self._drawn = time.monotonic()
        self._rate = _Rate()

    def say(self, sentence: str) -> None:
        """Tell what is going on: a line, and the page's title."""
        self._phase = sentence
        if self._live is None:
            self._console.print(f"[dim]·[/] {sentence}", highlight=False)
        else:
            self.draw(force=True)

    def begin(self) -> None:
        """Switch to the live page, where the console is a terminal."""
        if self._console.is_terminal:
            self._live = Live(
                self._page(), console=self._console, auto_refresh=False, transient=True
            )
            self._live.start()

    def draw(self, *, force: bool = False) -> None:
        """Show what is new. Cheap to call often."""
        now = time.monotonic()
        if self._live is not None:
            if force or now - self._drawn >= _REFRESH_S:
                self._drawn = now
                self._live.update(self._page(), refresh=True)
        elif self._ledger.uploads and now - self._drawn >= _PLAIN_EVERY_S:
            self._drawn = now
            ledger = self._ledger
            self._console.print(
                f"  {ledger.uploads} uploads, {ledger.decisions} decisions, "
                f"{ledger.dead_letters.total()} dead letters, {ledger.outstanding()} waiting, "
                f"P50 {_ms(ledger, 0.5)}, P99 {_ms(ledger, 0.99)}",
                highlight=False,
            )

    def end(self) -> None:
        """Leave the live page."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _page(self) -> RenderableType:
        ledger = self._ledger
        uploads, decisions = self._rate.of(ledger.uploads, ledger.decisions)
        head = Table.grid(expand=True)
        for _ in range(6):
            head.add_column(justify="center")
        head.add_row(
            _figure("uploads", f"{ledger.uploads}", f"{uploads:.0f}/s"),
            _figure("decisions", f"{ledger.decisions}", f"{decisions:.0f}/s"),
            _figure("dead letters", f"{ledger.dead_letters.total()}", ""),
            _figure("waiting", f"{ledger.outstanding()}", ""),
            _figure("P50", _ms(ledger, 0.5), "broker to broker"),
            _figure("P99", _ms(ledger, 0.99), "broker to broker"),
        )
        body = Table.grid(expand=True)
        for _ in range(4):
            body.add_column(ratio=1)
        body.add_row(*_breakdown(ledger))
        return Group(
            Panel(head, title=f"[bold]Sluice[/]: {self._phase}", border_style="blue"),
            body,
            _samples(ledger),
        )


class _Rate:
    """Events a second over the last moments."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, tuple[int, ...]]] = []

    def of(self, *counts: int) -> tuple[float, ...]:
        now = time.monotonic()
        self._marks = [mark for mark in self._marks if now - mark[0] <= 3.0]
        self._marks.append((now, counts))
        begin, then = self._marks[0]
        span = now - begin
        return tuple(
            (new - old) / span if span > 0.2 else 0.0 for new, old in zip(counts, then, strict=True)
        )


def _ms(ledger: Ledger, share: float) -> str:
    found = percentile(ledger.latencies(skip_s=WARMUP_S, last=_RECENT), share)
    return "-" if found is None else f"{found:.0f} ms"


def _figure(name: str, value: str, below: str) -> Text:
    return Text.assemble((f"{name}\n", "dim"), (f"{value}\n", "bold"), (below, "dim"))


def _breakdown(ledger: Ledger) -> list[RenderableType]:
    return [
        _counts("action", ledger.actions),
        _counts("stage", ledger.stages),
        _counts("category", ledger.categories),
        _counts("dead letter", ledger.dead_letters),
    ]


def _counts(title: str, counter: Counter[str]) -> Table:
    table = Table(title=title, show_header=False, box=None, title_style="bold", expand=True)
    table.add_column(ratio=2, no_wrap=True)
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    total = counter.total() or 1
    for name, count in counter.most_common(9):
        table.add_row(Text(name, style=_COLOURS.get(name, "")), str(count), f"{count / total:.0%}")
    return table


def _samples(ledger: Ledger) -> Table:
    table = Table(title="sample decisions", title_style="bold", expand=True, box=None)
    table.add_column("action", no_wrap=True)
    table.add_column("category", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("stage", no_wrap=True, style="dim")
    table.add_column("upload", ratio=2, no_wrap=True)
    table.add_column("reason", ratio=3, no_wrap=True)
    for seen in ledger.shown:
        table.add_row(
            Text(seen.action, style=_COLOURS.get(seen.action, "")),
            seen.category,
            f"{seen.probability:.2f}",
            seen.stage,
            # Text, not markup: people write square brackets. No line ends, they move the page.
            Text(" ".join(seen.text.split()), overflow="ellipsis"),
            Text(seen.reason, overflow="ellipsis"),
        )
    return table


def print_summary(console: Console, ledger: Ledger, summary: dict[str, Any]) -> None:
    """Print what a run came to.

    Args:
        console: where to.
        ledger: the run's books.
        summary: the object of `--json`.
    """
    console.rule("[bold]summary")
    body = Table.grid(expand=True)
    for _ in range(4):
        body.add_column(ratio=1)
    body.add_row(*_breakdown(ledger))
    console.print(body)
    if len(ledger.by_kind) > 1:
        console.print(_by_kind(ledger))
    console.print(_samples(ledger))
    console.print(
        f"{summary['uploads']} uploads, {summary['decisions']} decisions, "
        f"{summary['dead_letters']} dead letters, {summary['undecided']} without either; "
        f"{summary['duplicate_ids']} decisions came more than once, "
        f"{summary['conflicting_ids']} of them with different content",
        highlight=False,
    )
    media = summary["media"]
    if media["looked_at"]:
        done = ", ".join(f"{name} {count}" for name, count in media["actions"].items())
        console.print(
            f"{media['uploads']} pictures and videos, {media['looked_at']} of them decided again"
            f" with what was found in them: {done}",
            highlight=False,
        )
    console.print(
        f"from the upload's broker time to the decision's: P50 {_of(summary['p50_ms'])}, "
        f"P99 {_of(summary['p99_ms'])} after the first {summary['warmup_s']:.0f} s "
        f"(P99 {_of(summary['p99_all_ms'])} with them); "
        f"first decision {summary['first_decision_s'] or 0:.1f} s after the command's start",
        highlight=False,
    )


def _of(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.0f} ms"


def _by_kind(ledger: Ledger) -> Table:
    actions = [name for name, _ in ledger.actions.most_common()]
    table = Table(
        title="what the samples were made to show, and what was done", title_style="bold", box=None
    )
    table.add_column("sample")
    for action in actions:
        table.add_column(action, justify="right", style=_COLOURS.get(action, ""))
    for kind, counter in sorted(ledger.by_kind.items()):
        table.add_row(kind, *(str(counter[action] or "") for action in actions))
    return table
