"""`scripts/bench`: measures Sluice on this machine, all parts of it on the same processors."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from schemas.errors import SluiceError
from scripts.cli.bench.cases.kill import kill
from scripts.cli.bench.cases.latency import latency
from scripts.cli.bench.cases.loop import loop
from scripts.cli.bench.cases.media import media
from scripts.cli.bench.cases.patch import patch
from scripts.cli.bench.cases.rules_only import rules_only
from scripts.cli.bench.cases.state import state
from scripts.cli.bench.cases.tables import tables
from scripts.cli.bench.cases.throughput import cached, drained, maximum
from scripts.cli.bench.cases.ticks import ticks
from scripts.cli.bench.cases.tiers import both_tiers, tiers
from scripts.cli.bench.machine import machine
from scripts.cli.bench.report import markdown, put_into
from scripts.cli.bench.runs import Bench
from scripts.cli.local_stack import Stack
from scripts.cli.processes import interruptible

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

CASES: Final[dict[str, Callable[[Bench], dict[str, Any]]]] = {
    "loop": loop,
    "drained": drained,
    "maximum": maximum,
    "latency": latency,
    "cached": cached,
    "tiers": tiers,
    "both_tiers": both_tiers,
    "patch": patch,
    "media": media,
    "tables": tables,
    "ticks": ticks,
    "rules_only": rules_only,
    "state": state,
    "kill": kill,
}
"""In this order: later cases use what earlier ones found, and the job that runs."""


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="JSON file; Markdown and charts go beside it.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter phases: about 12 minutes, rougher figures.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="SLUICE_DATA", help="Public data sets, for natural texts in the case tiers."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this case (may be repeated): {', '.join(CASES)}."),
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Measure nothing: write the report of FILE again.")
    ] = False,
) -> None:
    """Measure throughput, latency, cost and recovery of the whole system on this machine.

    Starts its own broker, Redis and jobs, and stops them. Writes FILE (JSON), FILE with .md for
    .json, and charts in img/ beside it; a BENCHMARKS.md beside it gets the table.
    """
    if out.suffix != ".json":
        raise SluiceError(f"{out} should end in .json")
    unknown = set(only or ()) - CASES.keys()
    if unknown:
        raise SluiceError(f"no case {', '.join(sorted(unknown))}; there are: {', '.join(CASES)}")
    if render:
        write_report(msgspec.json.decode(out.read_bytes()), out)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with interruptible():
        result, failed = measure(only or [*CASES], quick=quick, data=data)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    write_report(result, out)
    print(markdown(result))
    if failed:
        raise SluiceError(f"not everything could be measured: {', '.join(failed)}; see above")


def measure(
    names: list[str], *, quick: bool, data: Path | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Run cases; gives the result and the names of those that failed."""
    began = time.monotonic()
    failed: list[str] = []

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", file=sys.stderr, flush=True)

    result: dict[str, Any] = {"version": 1, "quick": quick, "machine": machine(), "cases": {}}
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        Stack(Path(folder) / "stack", die_with_parent=True) as stack,
        Bench(Path(folder), stack, quick=quick, say=say, data=data) as bench_,
    ):
        bench_.results = result["cases"]
        for name in [name for name in CASES if name in names]:
            say(f"case {name}")
            started = time.monotonic()
            try:
                found = CASES[name](bench_)
            except SluiceError as error:
                # One case that fails must not cost the others an hour's measuring.
                say(f"case {name} failed: {error}")
                failed.append(name)
                bench_.stop_job()
                continue
            result["cases"][name] = {**found, "took_s": round(time.monotonic() - started, 1)}
    result["took_s"] = round(time.monotonic() - began, 1)
    result["failed"] = failed
    return result, failed


def write_report(result: dict[str, Any], out: Path) -> None:
    """Write Markdown and charts beside the JSON file."""
    from scripts.cli.bench.charts import draw  # noqa: PLC0415 - matplotlib takes a second

    table = markdown(result)
    out.with_suffix(".md").write_text(table, "utf-8")
    draw(result, out.parent / "img", out.stem)
    document = out.parent / "BENCHMARKS.md"
    if document.is_file():
        put_into(document, table)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/bench")
    except SluiceError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
