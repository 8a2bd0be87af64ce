"""`scripts/capacity`: machines and cost for a load, from the benchmark's figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from schemas.errors import SluiceError
from schemas.settings import CONF, ROOT
from schemas.yaml_source import YamlSource
from scripts.cli.capacity_inputs import Assumptions, Figures, read_figures
from scripts.cli.capacity_model import Plan, plan

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
FIGURES: Final = ROOT / "docs" / "bench.json"
ASSUMPTIONS: Final = CONF / "bench" / "capacity.yaml"


@app.command()
def capacity(
    per_day: Annotated[int, typer.Option(min=1, help="Uploads a day.")],
    peak: Annotated[
        int | None, typer.Option(min=1, help="Uploads a second at the peak; default: 3 x the mean.")
    ] = None,
    figures: Annotated[Path, typer.Option(help="JSON of scripts/bench.")] = FIGURES,
    assumptions: Annotated[
        Path, typer.Option(help="YAML: all that is not measured.")
    ] = ASSUMPTIONS,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many machines, partitions and TaskManagers a load needs, and what they cost.

    Every line shows its formula with the numbers in it. Measured figures come from the JSON of
    scripts/bench, all others from conf/bench/capacity.yaml. Text with the fast tier only.
    """
    top = peak if peak is not None else max(1, round(3 * per_day / 86_400))
    if top * 86_400 < per_day:
        raise SluiceError(
            f"{per_day:,} a day are {per_day / 86_400:,.0f} a second on average: the peak cannot"
            f" be {top:,}"
        )
    measured = read_figures(figures)
    assumed = YamlSource.read(assumptions).validate(Assumptions)
    found = plan(per_day, top, measured, assumed)
    if as_json:
        print(json.dumps(_document(found, measured, assumed), indent=1))
    else:
        _print(found, measured, figures, assumptions)


def _document(found: Plan, measured: Figures, assumed: Assumptions) -> dict[str, object]:
    return {
        "per_day": found.per_day,
        "peak": found.peak,
        "measured": msgspec.to_builtins(measured),
        "assumed": assumed.model_dump(),
        "plan": {
            line.key: {"value": line.value, "unit": line.unit, "formula": line.formula}
            for line in found.lines
        },
        "notes": list(found.notes),
    }


def _print(found: Plan, measured: Figures, figures: Path, assumptions: Path) -> None:
    out = Console(highlight=False, soft_wrap=False)
    out.print(f"{found.per_day:,} uploads a day, {found.peak:,} a second at the peak")
    out.print(f"Measured ({_short(figures)}):")
    for name, value in msgspec.to_builtins(measured).items():
        out.print(
            f"  {name} = {_number(value)}"
            if isinstance(value, (int, float))
            else f"  {name} = {value}"
        )
    table = Table("", "needed", "how")
    for line in found.lines:
        table.add_row(line.name, f"{_number(line.value)} {line.unit}".rstrip(), line.formula)
    out.print(table)
    for note in found.notes:
        out.print(f"- {note}")
    out.print(f"Assumptions: {_short(assumptions)}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.4g}"


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/capacity")
    except SluiceError as error:
        sys.exit(f"capacity: {error}")


if __name__ == "__main__":
    main()
