"""The benchmark's result as charts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Result = dict[str, Any]
_BLUE: Final = "#2a6f97"
_ORANGE: Final = "#e07a2f"
_COLOURS: Final = ("#2a6f97", "#e07a2f", "#5b8c5a", "#8d5a97", "#b0a160", "#7a7a7a", "#c44e52")


def draw(result: Result, folder: Path, stem: str) -> list[Path]:
    """Draw what the cases allow.

    Args:
        result: of a run.
        folder: gets `STEM-NAME.png`; it is made if there is something to draw.
        stem: beginning of the files' names.

    Returns:
        The files that were written.
    """
    cases = result["cases"]
    written = []
    for case, name, paint in (
        ("latency", "latency", _latency),
        ("latency", "cpu", _cpu),
        ("loop", "stages", _stages),
        ("loop", "batch", _batch),
        ("state", "state", _state),
    ):
        if case in cases:
            folder.mkdir(parents=True, exist_ok=True)
            figure = Figure(figsize=(7.2, 4.0), layout="constrained")
            FigureCanvasAgg(figure)
            paint(figure.add_subplot(), cases)
            path = folder / f"{stem}-{name}.png"
            # Without the date and the version in it, the same figures give the same file.
            figure.savefig(path, dpi=110, metadata={"Software": None})
            written.append(path)
    return written


def _latency(axes: Axes, cases: Result) -> None:
    """P99 of each second at each rate: flat is good, spikes are checkpoints or collections."""
    for level, colour in zip(cases["latency"]["levels"], _COLOURS, strict=False):
        rows = level["by_second"]
        axes.plot(
            [row["second"] for row in rows],
            [row["p99_ms"] for row in rows],
            color=colour,
            label=f"{level['rate']:,.0f}/s: P99 {level['p99_ms']:.0f} ms",
        )
    axes.axhline(50, color="#999999", linewidth=0.8, linestyle="--")
    _label(axes, "Upload to decision, by second of upload", "second", "P99, ms")


def _cpu(axes: Axes, cases: Result) -> None:
    """CPU an upload by component, stacked, for each load."""
    columns = [
        (f"{level['rate']:,.0f}/s", level["cpu_per_1000"]) for level in cases["latency"]["levels"]
    ]
    if "drained" in cases:
        columns.append(("backlog", cases["drained"]["cpu_per_1000"]))
    names = ["broker", "redis", "load generator"]
    names += [name for name in columns[0][1] if name.startswith("job: ")]
    bottom = [0.0] * len(columns)
    labels = [label for label, _ in columns]
    for place, name in enumerate(names):
        heights = [cpu.get(name, 0.0) * 1000 for _, cpu in columns]
        colour = _COLOURS[place % len(_COLOURS)]
        hatch = "//" if place >= len(_COLOURS) else None
        axes.bar(labels, heights, 0.6, bottom=bottom, label=name, color=colour, hatch=hatch)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    _label(axes, "CPU time an upload", "", "microseconds")


def _stages(axes: Axes, cases: Result) -> None:
    """Time of each stage of the cascade, bare loop."""
    stages = cases["loop"]["stages_us"]
    names = list(stages)[::-1]
    axes.barh(names, [stages[name] for name in names], color=_BLUE)
    for place, name in enumerate(names):
        axes.annotate(
            f" {stages[name]:.1f}", (stages[name], place), va="center", fontsize=8, color="#444444"
        )
    _label(axes, "Where the time of an upload goes (bare loop)", "microseconds", "")


def _batch(axes: Axes, cases: Result) -> None:
    """Cost an upload against the batch's size, bare loop."""
    sizes = [int(size) for size in cases["loop"]["sweep_cpu_us"]]
    axes.plot(sizes, cases["loop"]["sweep_cpu_us"].values(), "o-", color=_BLUE, label="CPU")
    axes.plot(sizes, cases["loop"]["sweep_wall_us"].values(), "o--", color=_ORANGE, label="wall")
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    _label(axes, "Cost against batch size (bare loop)", "uploads in a batch", "us an upload")


def _state(axes: Axes, cases: Result) -> None:
    """Throughput against the number of users with state."""
    for backend, colour in (("hashmap", _BLUE), ("rocksdb", _ORANGE)):
        rows = cases["state"].get(backend, {}).get("rows", [])
        axes.plot(
            [row["users"] for row in rows],
            [row["uploads_per_s"] for row in rows],
            "o-",
            color=colour,
            label=f"{backend}, rules only",
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    _label(axes, "Throughput against users with state", "users", "uploads/s out of a backlog")


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
