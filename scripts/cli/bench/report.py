"""The benchmark's result as Markdown: aims first, then a table for each question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from scripts.cli.bench.aims import aims, engine_us, job_us
from scripts.cli.bench.report_tiers import both_tiers, media, tables_job, tiers
from scripts.cli.bench.tables import table

BEGIN: Final = "<!-- bench:begin -->"
END: Final = "<!-- bench:end -->"
_NOISY: Final = 0.1
"""Processors that others may take before a figure is marked."""

Result = dict[str, Any]


def markdown(result: Result) -> str:
    """Write the whole report."""
    cases = result["cases"]
    parts = [_machine(result), _aims(cases)]
    sections: tuple[tuple[str, Callable[[Result], list[str]]], ...] = (
        ("latency", _latency),
        ("drained", _throughput),
        ("drained", _cpu),
        ("loop", _loop),
        ("loop", _stages),
        ("loop", _batches),
        ("tiers", tiers),
        ("both_tiers", both_tiers),
        ("media", media),
        ("tables", tables_job),
        ("ticks", _ticks),
        ("state", _state),
        ("rules_only", _rules_only),
        ("patch", _patch),
        ("kill", _kill),
    )
    parts += [write(cases) for name, write in sections if name in cases]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def put_into(document: Path, text: str) -> None:
    """Replace what stands between the marks of a document."""
    before, begin, rest = document.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        document.write_text(f"{before}{BEGIN}\n{text}{END}{after}", "utf-8")


def _machine(result: Result) -> list[str]:
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    kind = "quick run: shorter phases, rougher figures" if result["quick"] else "full run"
    lines = [
        f"Measured {machine['date']} at commit `{machine['commit']}` ({kind},"
        f" {result.get('took_s', 0) / 60:.0f} minutes): {machine['processors']} processors"
        f" ({machine['processor']}), {machine['memory_gib']} GiB, {machine['system']}.",
        f"Python {machine['python']}, {machine['java']}, {machine['kafka']},"
        f" {machine['redis_server'].partition(' sha')[0]}; {packages}.",
    ]
    if result.get("failed"):
        lines.append(f"**Not measured, because the case failed: {', '.join(result['failed'])}.**")
    others = _most_noise(result["cases"])
    if others > _NOISY:
        lines.append(
            f"**Not a quiet machine: others kept up to {others:.2f} processors busy meanwhile;"
            " expect better figures on a quiet one.**"
        )
    return lines


def _most_noise(found: object) -> float:
    """Largest share of the machine that others took in any phase."""
    if isinstance(found, dict):
        own = found.get("others", 0.0)
        return max([own, *map(_most_noise, found.values())]) if found else 0.0
    if isinstance(found, list):
        return max(map(_most_noise, found), default=0.0)
    return 0.0


def _aims(cases: Result) -> list[str]:
    rows = [(a.name, a.aim, a.measured, "yes" if a.met else "**no**") for a in aims(cases)]
    return table(("", "Aim", "Measured", "Met"), rows) if rows else []


def _latency(cases: Result) -> list[str]:
    rows = [
        (
            f"{level['rate']:,.0f}/s",
            *(f"{level[name]:.0f}" for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")),
            f"{level['count']:,}",
            level["checkpoints"],
            f"{level['mean_batch']:.1f}",
            f"{level['without_redis']:.1%}",
            f"{level['busy']['ours']:.2f} + {level['busy']['others']:.2f}",
        )
        for level in cases["latency"]["levels"]
    ]
    head = (
        "Rate",
        "P50 ms",
        "P99 ms",
        "P99.9 ms",
        "Max ms",
        "Uploads",
        "Checkpoints",
        "Batch",
        "Without Redis",
        "Processors busy: ours + others",
    )
    return [
        "### Latency",
        "",
        "Broker time of the upload to broker time of the decision. Without Redis: decided without"
        " what it knows, since it had not answered in time.",
        "",
        *table(head, rows),
    ]


def _throughput(cases: Result) -> list[str]:
    case = cases["drained"]
    rows = [("Backlog", f"{case['uploads_per_s']:,.0f}", f"each run: {case['each']}")]
    if "maximum" in cases:
        most = cases["maximum"]
        tried = ", ".join(
            f"{t['rate']:,.0f} ({'held' if t['held'] else 'not held'}, P99 {t['p99_ms']:.0f} ms)"
            for t in most["tries"]
        )
        rows.append(("Open loop", f"{most['uploads_per_s']:,.0f}", f"tried {tried}"))
    if "cached" in cases:
        found = cases["cached"]
        rows.append(
            (
                "Backlog, 30% repeated texts",
                f"{found['uploads_per_s']:,.0f}",
                f"{found['hit_share']:.0%} answered by the decision cache",
            )
        )
    actions = ", ".join(f"{name} {share:.1%}" for name, share in case["actions"].items())
    return [
        "### Throughput",
        "",
        *table(("", "Uploads/s", ""), rows),
        "",
        f"What was decided in the backlog: {actions}.",
    ]


def _cpu(cases: Result) -> list[str]:
    columns = [("backlog", cases["drained"]["cpu_per_1000"])]
    columns += [
        (f"{level['rate']:,.0f}/s", level["cpu_per_1000"])
        for level in cases.get("latency", {}).get("levels", [])
    ]
    names = sorted({name for _, cpu in columns for name in cpu}, key=_cpu_order)
    rows = [
        (name, *(f"{cpu[name]:.3f}" if name in cpu else "-" for _, cpu in columns))
        for name in names
    ]
    return [
        "### CPU seconds for 1,000 uploads",
        "",
        "The job's Python runs inside its JVM: `job: operator` is the thread that both the"
        " Python code and Flink's operator run on; the rows below it are other threads.",
        "",
        *table(("", *(name for name, _ in columns)), rows),
    ]


def _cpu_order(name: str) -> tuple[int, str]:
    first = ("broker", "redis", "job", "job: operator")
    return (first.index(name), "") if name in first else (9 + (not name.startswith("job")), name)


def _loop(cases: Result) -> list[str]:
    loop = cases["loop"]
    rows = [
        ("Bare loop, one core", f"{loop['uploads_per_s']:,.0f}", f"{loop['cpu_us']:.0f}"),
    ]
    if "drained" in cases:
        case = cases["drained"]
        cpu = case["cpu_per_1000"]
        rows += [
            ("Job, out of a backlog", f"{case['uploads_per_s']:,.0f}", f"{job_us(cpu):.0f}"),
            ("- of it the operator's thread", "", f"{cpu['job: operator'] * 1000:.0f}"),
            ("Difference: the engine", "", f"{engine_us(cases):.0f}"),
            (
                "Ratio",
                f"{case['uploads_per_s'] / loop['uploads_per_s']:.2f}",
                f"{job_us(cpu) / loop['cpu_us']:.2f}",
            ),
        ]
    return [
        "### The same cascade without an engine",
        "",
        *table(("", "Uploads/s", "CPU us an upload"), rows),
    ]


def _stages(cases: Result) -> list[str]:
    stages = cases["loop"]["stages_us"]
    inside = cases.get("drained", {}).get("operator_stage_us", {})
    rows = [
        (name, f"{us:.1f}", f"{inside[name]:.1f}" if name in inside else "-")
        for name, us in stages.items()
    ]
    rows.append(("sum", f"{sum(stages.values()):.1f}", "-"))
    batch = cases["loop"]["batch"]
    head = ("Stage", f"Bare loop, batches of {batch}: us an upload", "In the job: us an upload")
    return ["### Where the time goes", "", *table(head, rows)]


def _batches(cases: Result) -> list[str]:
    sweep = cases["loop"]["sweep_cpu_us"]
    walls = cases["loop"]["sweep_wall_us"]
    return [
        "### Cost against batch size (bare loop)",
        "",
        *table(
            ("Uploads in a batch", *sweep),
            [
                ("CPU us an upload", *(f"{us:.0f}" for us in sweep.values())),
                ("Wall us an upload", *(f"{us:.0f}" for us in walls.values())),
            ],
        ),
    ]


def _ticks(cases: Result) -> list[str]:
    rows = [
        (
            f"{row['tick_ms']} ms",
            *(f"{row[name]:.0f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
            f"{row['mean_batch']:.1f}",
            f"{job_us(row['cpu_per_1000']):.0f}",
        )
        for row in sorted(cases["ticks"]["rows"], key=lambda row: int(row["tick_ms"]))
    ]
    head = ("Tick", "P50 ms", "P99 ms", "P99.9 ms", "Batch", "Job CPU us an upload")
    return [f"### Tick, at {cases['ticks']['rate']:,.0f}/s", "", *table(head, rows)]


def _state(cases: Result) -> list[str]:
    rows = []
    for backend in ("hashmap", "rocksdb"):
        rows += [
            (
                backend,
                f"{row['users']:,}",
                f"{row['uploads_per_s']:,.0f}",
                _mega(row["checkpoint_bytes"]),
                f"{row['checkpoint_bytes_per_user']:.0f}",
                f"{row['checkpoint_ms']}",
                _mega(row["heap_bytes"]),
                "-" if row["heap_bytes_per_user"] is None else f"{row['heap_bytes_per_user']:.0f}",
                _mega(row["resident_bytes"]),
            )
            for row in cases["state"].get(backend, {}).get("rows", [])
        ]
    head = (
        *("Backend", "Users", "Uploads/s (rules only)", "Checkpoint MB", "Bytes a user"),
        *("Checkpoint ms", "Heap MB", "Heap bytes a user", "Process MB"),
    )
    lines = ["### State", "", *table(head, rows)]
    whole = cases["state"]["hashmap"].get("whole_cascade")
    if whole:
        lines += [
            "",
            f"The whole cascade on the state of {whole['users']:,} users:"
            f" {whole['uploads_per_s']:,.0f} uploads/s out of a backlog. With that state to restore"
            f" the job read from Kafka {whole['start_s']:.0f} s after its start.",
        ]
    return lines


def _mega(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"


def _rules_only(cases: Result) -> list[str]:
    case = cases["rules_only"]
    published = case["published"]
    rate, patterns = case["uploads_per_s_on_one_core"], case["patterns_per_s"]
    rows = [
        (
            "Kafka to Kafka, one core",
            f"{published['kafka_to_kafka']:,.0f}",
            f"{rate:,.0f}",
            f"{rate / published['kafka_to_kafka']:.1f}",
        ),
        (
            "Without Kafka",
            f"{published['engine_alone']:,.0f}",
            f"{case['loop_uploads_per_s']:,.0f}",
            f"{case['loop_uploads_per_s'] / published['engine_alone']:.1f}",
        ),
        (
            "The 15 patterns alone, Python's `re`",
            f"{published['patterns_in_a_loop']:,.0f}",
            f"{patterns:,.0f}",
            f"{patterns / published['patterns_in_a_loop']:.1f}",
        ),
    ]
    head = ("Events/s", "Python rules engine", "Sluice, here", "Ratio")
    title = "### Rules only: 10 keyword and 5 pattern rules, 120 characters"
    return [title, "", *table(head, rows)]


def _patch(cases: Result) -> list[str]:
    case = cases["patch"]
    acting, acks = case["acting_ms"], case["acknowledged_ms"]
    if not acting:
        return []
    median = sorted(acting)[len(acting) // 2]
    return [
        "### A rule patch acts",
        "",
        f"{case['acted']} of {case['patches']} patches under {case['rate']:,.0f}/s: the first"
        f" decision with the new rules {min(acting):.0f} to {max(acting):.0f} ms (median"
        f" {median:.0f}) after the broker had the message; every subtask's answer was read"
        f" after {max(acks, default=0):.0f} ms at most.",
    ]


def _kill(cases: Result) -> list[str]:
    case = cases["kill"]
    names = (
        "uploads",
        "broken",
        "answered_before_kill",
        "silence_s",
        "lost",
        "contradicting",
        "repeated",
        "dropped",
        "surplus",
        "miscounted",
    )
    return [
        "### `kill -9` in a backlog",
        "",
        *table([name.replace("_", " ") for name in names], [[f"{case[name]:,}" for name in names]]),
    ]
