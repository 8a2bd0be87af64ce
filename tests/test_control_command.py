"""`scripts/control` without a broker: what it refuses, and where a rollback goes."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.control import ControlKind, ControlMessage
from schemas.errors import ConfigError
from schemas.settings import ROOT, load_settings
from scripts.cli.control import main
from scripts.cli.control_check import Checker
from scripts.cli.control_topic import ROLLBACK, version_before
from tests.model_kit import write_model

POLICY = (ROOT / "conf/policy.yaml").read_text("utf-8")
CRITICAL = "critical: {above: "
CRITICAL_LINE = POLICY[: POLICY.index(CRITICAL)].count("\n") + 1
NEW_CATEGORY = """\
  astrology:
    description: Horoscopes.
    model: []
    severities:
      mild: {meaning: Vague., action: label, tier: 3}
      moderate: {meaning: Precise., action: restrict, tier: 3}
      severe: {meaning: For sale., action: remove, tier: 3}
    on_missing: fail_open
    needs: []

"""
WIDER_POLICY = POLICY.replace("  violence:\n", f"{NEW_CATEGORY}  violence:\n", 1)
COMMUNITIES = "communities:\n  stars:\n    categories:\n      astrology: {enabled: false}\n"


def message(
    kind: ControlKind, text: str, *, name: str = "", minute: int = 0, comment: str = ""
) -> ControlMessage:
    when = dt.datetime(2026, 1, 1, 12, minute, tzinfo=dt.UTC)
    return ControlMessage(
        kind=kind, name=name, text=text, file=f"{kind}.yaml", comment=comment, published_at=when
    )


def by_key(*messages: ControlMessage) -> dict[str, ControlMessage]:
    return {each.key: each for each in messages}


@pytest.fixture(scope="module")
def checker() -> Checker:
    settings = load_settings("dev")
    files = settings.cascade.model_copy(update={"fast_text": None})
    return Checker(settings.model_copy(update={"cascade": files}))


def test_a_message_is_checked_over_what_is_published(checker: Checker) -> None:
    overrides = message("communities", COMMUNITIES)
    checker.check_alone(overrides)  # whether it fits, only the topic can say
    with pytest.raises(ConfigError, match=r"communities\.yaml:4"):
        checker.check(overrides, {})
    checker.check(overrides, by_key(message("policy", WIDER_POLICY)))


def test_a_policy_is_checked_against_the_overrides_in_force(checker: Checker) -> None:
    published = by_key(message("policy", WIDER_POLICY), message("communities", COMMUNITIES))
    narrower = message("policy", POLICY)
    checker.check_alone(narrower)
    with pytest.raises(ConfigError, match="astrology"):
        checker.check(narrower, published)


def test_a_published_mistake_does_not_stand_in_the_way(checker: Checker) -> None:
    published = by_key(message("rules", "rules: 7"), message("switches", "observe_only: maybe"))
    checker.check(message("policy", POLICY), published)
    checker.check(message("rules", 'version: "1"'), published)


def test_only_categories_that_something_speaks_of_can_be_killed(checker: Checker) -> None:
    checker.check_category("spam", {})
    with pytest.raises(ConfigError, match=r"no category spm; there are: .*spam.*"):
        checker.check_category("spm", {})
    with pytest.raises(ConfigError):
        checker.check_category("astrology", {})
    checker.check_category("astrology", by_key(message("policy", WIDER_POLICY)))
    rules = 'version: "1"\nrules:\n  - {id: a, kind: keywords, category: astrology, terms: [x]}\n'
    checker.check_category("astrology", by_key(message("rules", rules)))


def published(*texts: str) -> list[ControlMessage]:
    """Versions in order; `<A` is a rollback to A."""
    versions = []
    for minute, text in enumerate(texts):
        comment = f"{ROLLBACK}it" if text.startswith("<") else ""
        versions.append(message("rules", text.lstrip("<"), minute=minute, comment=comment))
    return versions


@pytest.mark.parametrize(
    ("texts", "target"),
    [
        ("A", None),
        ("A B", "A"),
        ("A B C", "B"),
        ("A B B", "A"),
        ("A B <A", None),
        ("A B C <B", "A"),
        ("A B C <B <A", None),
        ("A B <A C", "A"),
        ("A B <A C <A", None),
        ("A B A", "B"),
    ],
)
def test_rollbacks_go_on_backwards(texts: str, target: str | None) -> None:
    versions = published(*texts.split())
    found = version_before(versions[-1], versions)
    assert (found.text if found else None) == target


def test_a_version_outside_the_history_has_none_before_it() -> None:
    assert version_before(message("rules", "X"), published("A", "B")) is None


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command where no broker answers; gives exit status and output."""
    monkeypatch.setenv("SLUICE_CASCADE__FAST_TEXT", str(write_model(tmp_path / "model")))
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP", "127.0.0.1:1")

    def run(*arguments: str | Path) -> tuple[Any, str]:
        monkeypatch.setattr(sys, "argv", ["control", *map(str, arguments)])
        with pytest.raises(SystemExit) as leave:
            main()
        return leave.value.code, capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('version: "1"\nrules:\n  - {id: a, kind: keywords, category: spam}\n', 3, "terms"),
        (POLICY.replace(CRITICAL, "critical: {above: 7"), CRITICAL_LINE, "critical.above"),
        ("observe_only: true\ndisabled_actions: [allow]\n", 2, "cannot be switched off"),
        ("rules: [\n", 2, "not YAML"),
    ],
)
def test_a_wrong_file_is_refused_before_a_broker_is_asked(
    run: Any, tmp_path: Path, text: str, line: int, said: str
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text, "utf-8")
    status, out = run("apply", file)
    assert status.startswith(f"control: {file}:{line}: ")
    assert said in status
    assert out == ""


def test_what_cannot_be_meant_is_refused(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "what.yaml"
    file.write_text("colour: red\n", "utf-8")
    assert "cannot tell what kind of file this is" in run("apply", file)[0]
    assert "kind colours is not known" in run("apply", file, "--kind", "colours")[0]
    assert "cannot be read" in run("apply", tmp_path / "absent.yaml")[0]
    assert "no key rulez; there are: rules, " in run("show", "rulez")[0]
    assert "bank/NAME" in run("rollback", "bank")[0]
    assert "neither on nor off" in run("observe", "maybe")[0]
    assert "neither category nor action" in run("kill", "user", "x")[0]
