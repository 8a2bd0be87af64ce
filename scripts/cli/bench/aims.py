"""What was aimed at, and whether a run of the benchmark got there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

Result = dict[str, Any]


class Aim(NamedTuple):
    """One figure that was set beforehand."""

    name: str
    aim: str
    measured: str
    met: bool


def aims(cases: Result) -> list[Aim]:
    """The aims that the measured cases can say something about."""
    found = [*_speed_aims(cases), *_cost_aims(cases)]
    if "state" in cases:
        ratio = flatness(cases["state"])
        found.append(
            Aim("Rate with the most users / with 10,000", ">= 0.9", f"{ratio:.2f}", ratio >= 0.9)
        )
    if "patch" in cases and cases["patch"]["acting_ms"]:
        worst = max(cases["patch"]["acting_ms"])
        met = worst <= 5_000 and cases["patch"]["acted"] == cases["patch"]["patches"]
        found.append(
            Aim("A rule acts after it was published", "<= 5 s", f"{worst / 1000:.2f} s", met)
        )
    if "rules_only" in cases:
        case = cases["rules_only"]
        rate = case["uploads_per_s_on_one_core"]
        found.append(
            Aim(
                "Rules only, on one core",
                f">= {case['aim']:,.0f}/s",
                f"{rate:,.0f}/s",
                rate >= case["aim"],
            )
        )
    if "kill" in cases:
        case = cases["kill"]
        wrong = [f"{case[n]} {n}" for n in ("lost", "contradicting", "dropped", "miscounted")]
        met = all(part.startswith("0 ") for part in wrong)
        name = "`kill -9` in a backlog"
        found.append(Aim(name, "0 lost, contradicting, dropped", ", ".join(wrong), met))
    return found


def flatness(state: Result) -> float:
    """Rate with the most users over the rate with the fewest, heap backend."""
    rows = state["hashmap"]["rows"]
    return float(rows[-1]["uploads_per_s"] / rows[0]["uploads_per_s"])


def engine_us(cases: Result) -> float:
    """CPU microseconds an upload that the job takes above the bare loop."""
    return float(job_us(cases["drained"]["cpu_per_1000"]) - cases["loop"]["cpu_us"])


def job_us(cpu: Result) -> float:
    """CPU microseconds an upload of the job's processes."""
    return float((cpu["job"] + cpu["job launcher"]) * 1000)


def _speed_aims(cases: Result) -> Iterable[Aim]:
    for level in cases.get("latency", {}).get("levels", []):
        if level["rate"] == 1_200:
            p99 = level["p99_ms"]
            yield Aim("P99 at 1,200/s", "<= 50 ms", f"{p99:.0f} ms", p99 <= 50)
    for level in cases.get("both_tiers", {}).get("levels", []):
        if level["rate"] == 1_200:
            p99 = level["p99_ms"]
            yield Aim("P99 at 1,200/s, both text tiers", "<= 150 ms", f"{p99:.0f} ms", p99 <= 150)
    if "drained" in cases:
        rate = cases["drained"]["uploads_per_s"]
        yield Aim("Sustained, out of a backlog", ">= 5,000/s", f"{rate:,.0f}/s", rate >= 5_000)
    if "maximum" in cases:
        rate = cases["maximum"]["uploads_per_s"]
        yield Aim("Sustained, open loop", ">= 5,000/s", f"{rate:,.0f}/s", rate >= 5_000)


def _cost_aims(cases: Result) -> Iterable[Aim]:
    if "drained" in cases and "loop" in cases:
        ratio = cases["drained"]["uploads_per_s"] / cases["loop"]["uploads_per_s"]
        yield Aim("Job / bare loop, uploads a second", ">= 0.5", f"{ratio:.2f}", ratio >= 0.5)
        engine = engine_us(cases)
        yield Aim("Engine, CPU an upload", "<= 90 us", f"{engine:.0f} us", engine <= 90)
