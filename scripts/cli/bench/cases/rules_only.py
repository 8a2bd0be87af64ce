"""The case that rule engines are compared by: 15 rules over 120-character texts, no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from schemas.rules import KeywordRule, RulesDocument
from schemas.settings import CONF
from schemas.yaml_source import YamlSource
from scripts.cli.bench.cases.loop import bare_loop
from scripts.cli.bench.runs import Bench, JobSpec

PROFILE: Final = "conf/bench/rules_only_profile.yaml"
RULES: Final = CONF / "bench" / "rules_only.yaml"
ONE_CORE: Final = JobSpec(PROFILE, cores="0")
PUBLISHED: Final = {
    "kafka_to_kafka": 745.0,
    "engine_alone": 1_093.0,
    "patterns_in_a_loop": 29_000.0,
}
"""Of the Python rules engine that users would pick instead: events a second and core, measured
on the same kind of machine with the same rules and texts; and the 15 patterns by themselves."""
AIM: Final = 5.0
HITS: Final = (
    *("free money", "easy cash", "miracle cure", "online casino", "buy followers"),
    *("crypto giveaway", "replica watches", "instant loan", "work from home"),
    *("double your income", "https://offers.top/a1", "+44 123 456 7890", "x.y@mail.biz"),
    *("only $9.99 today", "click here to win"),
)
"""One text for each rule."""


def rules_only(bench: Bench) -> dict[str, Any]:
    """Kafka to Kafka on one core, and the same in a bare loop."""
    bench.stop_job()
    bare = bare_loop(
        bench,
        profile=PROFILE,
        count=bench.pick(20_000, 8_000),
        hits=list(HITS),
        patterns=plain_patterns(),
        load={"samples": 0.0},
    )
    run = bench.run(ONE_CORE)
    rates = []
    for _ in range(2):
        bench.say("rules only: working off a backlog, the job on one core")
        rate, phase = run.backlog(
            run.sized(bench.pick(10, 4)), hits=list(HITS), load={"samples": 0.0}
        )
        rates.append(round(rate, 1))
    return {
        "uploads_per_s_on_one_core": max(rates),
        "each": rates,
        "aim": AIM * PUBLISHED["kafka_to_kafka"],
        "published": PUBLISHED,
        "loop_uploads_per_s": round(1e6 / bare.wall_us, 1),
        "loop_stages_us": bare.stages_us,
        "patterns_per_s": round(1e6 / bare.patterns_us, 1) if bare.patterns_us else None,
        "cpu_per_1000": phase.cpu_per_1000(),
        "busy": phase.busy(),
        "mean_batch": phase.mean_batch(),
    }


def plain_patterns(path: Path = RULES) -> list[str]:
    """The rule file's terms and patterns, as one regular expression each."""
    document = YamlSource(path.read_text("utf-8"), str(path)).validate(RulesDocument)
    found: list[str] = []
    for rule in document.rules:
        if isinstance(rule, KeywordRule):
            found += [rf"\b{term}\b" for term in rule.terms]
        else:
            found += rule.patterns
    return found
