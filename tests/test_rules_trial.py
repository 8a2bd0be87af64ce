"""`scripts/rules`: a rule file before it goes live."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from schemas.settings import ROOT
from scripts.cli.moderate import moderate_lines
from scripts.cli.rules import highlighted, main
from scripts.cli.rules_trial import Example
from tests.fakes import payload
from tests.model_kit import write_model

IN_FORCE = """\
version: "1"
rules:
  - {id: scam, kind: keywords, category: spam, terms: [free bitcoin], definitive: true}
  - {id: rude, kind: keywords, category: toxicity, terms: [scoundrel], definitive: true}
  - {id: shill, kind: keywords, category: spam, terms: [best watches], definitive: true}
"""
CANDIDATE = """\
version: "2"
rules:
  - {id: scam, kind: keywords, category: spam, terms: [free bitcoin], definitive: true}
  - id: rude
    kind: regex
    category: toxicity
    severity: severe
    definitive: true
    patterns: ['sc[ou]+ndrel\\w*']
  - id: later
    kind: keywords
    category: spam
    terms: [lottery]
    mode: observe
  - id: dated
    kind: keywords
    category: spam
    terms: [carnival]
    definitive: true
    valid_from: 2099-02-01
    valid_until: 2099-03-01
"""
TEXTS = [
    "hello there",
    "get FREE bitcoin now",
    "you scoundrel",
    "you scoundrels",
    "best watches in town",
    "you won the lottery",
    "carnival at the l.o.t.t.e.r.y",
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command, with a model that finds nothing; gives exit status, output and errors."""
    model = write_model(tmp_path / "model")
    monkeypatch.setenv("SLUICE_CASCADE__FAST_TEXT", str(model))

    def run(*arguments: str | Path) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["rules", *map(str, arguments)])
        try:
            main()
            status: Any = 0
        except SystemExit as leave:
            status = leave.code
        done = capsys.readouterr()
        return status, done.out, done.err

    return run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The candidate, the rules in force, and uploads of which two lines are none."""
    candidate, in_force, uploads = (tmp_path / n for n in ("new.yaml", "old.yaml", "up.jsonl"))
    candidate.write_text(CANDIDATE, "utf-8")
    in_force.write_text(IN_FORCE, "utf-8")
    lines = [payload(f"c{i}", f"u{i}", text=text) for i, text in enumerate(TEXTS)]
    lines[1:1] = [b"", b"{", payload("odd", content_type="hologram")]
    uploads.write_bytes(b"\n".join(lines) + b"\n")
    return candidate, in_force, uploads


def trial(run: Any, files: tuple[Path, Path, Path], *more: str) -> dict[str, Any]:
    candidate, in_force, uploads = files
    status, out, _ = run(
        "test", candidate, "--against", uploads, "--in-force", in_force, "--json", *more
    )
    assert status == 0
    report: dict[str, Any] = json.loads(out)
    return report


def test_each_rule_is_compared_with_the_rule_in_force(
    run: Any, files: tuple[Path, Path, Path]
) -> None:
    report = trial(run, files)
    assert (report["uploads"], report["dead_letters"], report["matched"]) == (7, 2, 5)
    rules = {rule["id"]: rule for rule in report["rules"]}
    shown = {
        name: [rule[key] for key in ("status", "matches", "new", "gone", "changed")]
        for name, rule in rules.items()
    }
    assert shown == {
        "scam": ["unchanged", 1, 0, 0, 0],
        "rude": ["changed", 2, 1, 0, 2],
        "later": ["added", 2, 2, 0, 0],
        "dated": ["added", 0, 0, 0, 0],
        "shill": ["removed", 0, 0, 1, 0],
    }
    assert rules["rude"]["share"] == pytest.approx(2 / 7)
    assert rules["rude"]["actions"] == {"remove": 2}
    assert rules["later"]["actions"] == {"allow": 2}
    assert report["changes"] == {
        "allow -> remove": 1,
        "restrict -> remove": 1,
        "shadowban -> allow": 1,
    }


def test_examples_show_what_changes_first_and_point_into_the_original(
    run: Any, files: tuple[Path, Path, Path]
) -> None:
    report = trial(run, files, "--limit", "1")
    examples = {rule["id"]: rule["examples"] for rule in report["rules"]}
    (changed,) = examples["rude"]
    # The line of the file, empty and refused ones counted.
    assert (changed["line"], changed["content_id"], changed["new"]) == (7, "c3", True)
    assert (changed["action_in_force"], changed["action"]) == ("allow", "remove")
    ((start, end),) = changed["spans"]
    assert changed["text"][start:end] == "scoundrels"
    report = trial(run, files)
    disguised = next(rule for rule in report["rules"] if rule["id"] == "later")["examples"][1]
    ((start, end),) = disguised["spans"]
    assert disguised["text"][start:end] == "l.o.t.t.e.r.y"
    assert all(rule["examples"] == [] for rule in trial(run, files, "--limit", "0")["rules"])


def test_dated_rules_are_tried_at_a_moment(run: Any, files: tuple[Path, Path, Path]) -> None:
    report = trial(run, files, "--at", "2099-02-10T00:00:00Z")
    dated = next(rule for rule in report["rules"] if rule["id"] == "dated")
    assert (dated["matches"], dated["actions"]) == (1, {"shadowban": 1})
    status, _, _ = run("test", files[0], "--against", files[2], "--at", "soon")
    assert "--at soon is no time" in status


def test_it_is_the_cascade_that_decides(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample uploads get the actions that `scripts/moderate` gives to them one by one."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "version: '3'\nrules:\n"
        "  - {id: the, kind: keywords, category: toxicity, terms: [the], definitive: true}\n",
        "utf-8",
    )
    uploads = tmp_path / "up.jsonl"
    lines = [payload(f"c{i}", f"u{i}", text=f"{i} the {'x' * i}") for i in range(300)]
    uploads.write_bytes(b"\n".join(lines))
    _, out, _ = run("test", rules, "--against", uploads, "--json")
    report = json.loads(out)
    from schemas.settings import load_settings  # noqa: PLC0415 - after the environment is set

    monkeypatch.setenv("SLUICE_CASCADE__RULES", str(rules))
    monkeypatch.setenv("SLUICE_REDIS__ENABLED", "false")
    sink = io.BytesIO()
    moderate_lines(io.BytesIO(uploads.read_bytes()), sink, load_settings("dev"))
    alone = Counter(json.loads(line)["decision"]["action"] for line in sink.getvalue().splitlines())
    assert report["rules"][0]["actions"] == dict(alone)
    assert report["matched"] == 300


def test_the_table_names_every_rule_and_highlights(
    run: Any, files: tuple[Path, Path, Path]
) -> None:
    candidate, in_force, uploads = files
    _, out, _ = run("test", candidate, "--against", uploads, "--in-force", in_force)
    assert "7 uploads, 5 matched (71.43%); 3 would be treated otherwise than now" in out
    assert "2 lines are no valid upload" in out
    for name in ("scam", "rude", "later", "dated", "shill"):
        assert name in out
    assert "new allow -> remove  you scoundrels" in out


def test_long_texts_are_cut_around_the_match_and_cannot_steer_a_terminal() -> None:
    text = "x" * 500 + "\x1b[2J\u202e bad \n" + "y" * 500
    start = text.index("bad")
    shown = highlighted(Example(1, "c", text, ((start, start + 3),), True, "remove", "allow"))
    assert shown.plain.startswith("…x")
    assert shown.plain.endswith("y…")
    assert len(shown.plain) < 200
    assert not set("\x1b\n\u202e") & set(shown.plain)
    (span,) = shown.spans
    assert shown.plain[span.start : span.end] == "bad"
    console = Console(file=io.StringIO(), force_terminal=True)
    console.print(shown)


def test_check_accepts_with_a_summary(run: Any, files: tuple[Path, Path, Path]) -> None:
    status, out, err = run("check", files[0])
    assert (status, err) == (0, "")
    assert "2 keyword rules" not in out
    assert "3 keyword rules with 3 terms, 1 pattern rules" in out
    _, out, _ = run("check", files[0], "--json")
    assert json.loads(out)["rules"] == 4


@pytest.mark.parametrize(
    ("wrong", "line", "said"),
    [
        ("  - {id: a, kind: keywords, category: spam}", 3, "terms is required"),
        ("  - {id: a, kind: keywords, category: spam, terms: [x], tems: 1}", 3, "unknown field"),
        ("  - {id: A, kind: keywords, category: spam, terms: [x]}", 3, "id"),
        ("  - id: a\n    kind: regex\n    category: spam\n    patterns:\n"
         "      - 'fine'\n      - 'x(?=y)'", 8, "invalid perl operator"),
        ("  - id: a\n    kind: regex\n    category: spam\n    patterns: ['(a)\\1']", 6, "backref"),
        ("  - [", 4, "not YAML"),
    ],
)  # fmt: skip
def test_check_refuses_with_file_and_line(
    run: Any, tmp_path: Path, wrong: str, line: int, said: str
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(f'version: "1"\nrules:\n{wrong}\n', "utf-8")
    for command in (("check", file), ("test", file, "--against", "-")):
        status, out, _ = run(*command)
        assert out == ""
        assert status.startswith(f"error: {file}:{line}: ")
        assert said in status


def test_check_warns_of_what_is_seldom_meant(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        'version: "1"\nrules:\n'
        "  - {id: a, kind: keywords, category: astrology, terms: [x]}\n"
        "  - id: b\n    kind: keywords\n    category: spam\n    terms: [Lot]\n    allow: [LOT]\n"
        "    valid_until: 2020-01-01\n",
        "utf-8",
    )
    status, _, err = run("check", file)
    assert status == 0
    assert f"{file}:3: rule a: category: the policy has no category astrology" in err
    assert f"{file}:7: rule b: terms: 'Lot' is in allow too" in err
    assert f"{file}:9: rule b: valid_until: is over" in err
    assert len(err.splitlines()) == 3


def test_the_projects_own_rules_are_right_and_without_warnings(run: Any) -> None:
    status, _, err = run("check", ROOT / "conf/rules.yaml")
    assert (status, err) == (0, "")


def test_hash_text_is_what_a_bank_knows(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, _ = run("hash-text", "Free  BITCOIN")
    _, same, _ = run("hash-text", "free bitcoin")
    assert out == same
    assert len(out.strip()) == 64
    monkeypatch.setattr(sys, "stdin", io.StringIO("free bitcoin\nother\n"))
    _, lines, _ = run("hash-text", "-")
    assert lines.splitlines()[0] == out.strip()
    assert len(set(lines.splitlines())) == 2
