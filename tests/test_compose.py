"""The live cascade: each kind of control message put in force, refused and taken back."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

import pytest

from operators.compose import LiveCascade, compose_cascade
from schemas.control import ControlKind, ControlMessage
from schemas.decision import Decision
from schemas.errors import ConfigError
from schemas.settings import ROOT, load_settings
from tests import deep_kit
from tests.fakes import NOW_MS, payload
from tests.model_kit import write_model
from udfs.banks import hash_text
from udfs.cascade import Cascade
from udfs.fusion import LinearFusion
from udfs.fusion_lightgbm import LightGbmFusion

WHEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
POLICY = (ROOT / "conf/policy.yaml").read_text("utf-8")

RULES = """\
version: live
rules:
  - id: zebra
    kind: keywords
    category: threat
    severity: severe
    terms: [zebra]
    definitive: true
"""
BANK = f"""\
version: 1
bank: scams
category: spam
severity: severe
add:
  - {{hash: {hash_text("a known scam")}, id: scam-1}}
"""
MORE_BANK = f"""\
version: 1
bank: scams
add:
  - {{hash: {hash_text("a second scam")}, id: scam-2}}
"""
COMMUNITIES = """\
communities:
  zoo:
    categories:
      threat: {enabled: false}
"""
OTHER_POLICY = re.sub(r"^version: .*$", "version: other", POLICY, count=1, flags=re.MULTILINE)
WRONG: dict[ControlKind, str] = {
    "rules": RULES.replace("terms:", "tems:"),
    "policy": POLICY.replace("above: ", "above: 7", 1),
    "communities": COMMUNITIES.replace("threat", "nonsense"),
    "switches": "disabled_actions: [allow]",
    "bank": BANK.replace("version: 1", "version: 2"),
    "model": "folder: conf/models/nowhere",
}
"""A mistake of each kind, which must leave everything as it was."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models: one that finds nothing, one that finds everything."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "calm": write_model(folder / "calm"),
        "strict": write_model(folder / "strict", probability=0.99),
    }


@pytest.fixture(scope="module")
def started(models: dict[str, Path]) -> Cascade:
    settings = load_settings("dev")
    redis = settings.redis.model_copy(update={"enabled": False})
    files = settings.cascade.model_copy(update={"fast_text": models["calm"], "deep_text": None})
    return compose_cascade(settings.model_copy(update={"redis": redis, "cascade": files})).cascade


@pytest.fixture
def live(started: Cascade) -> LiveCascade:
    return LiveCascade(started)


def message(kind: ControlKind, text: str, name: str = "") -> ControlMessage:
    return ControlMessage(kind=kind, name=name, text=text, file=f"{kind}.yaml", published_at=WHEN)


def decide(live: LiveCascade, text: str, **fields: object) -> Decision:
    item = live.prepare(payload("c1", "u1", text=text, **fields), int(NOW_MS))
    (outcome,) = live.moderate([item], NOW_MS)
    return outcome.decision


def everything_applied(live: LiveCascade, models: dict[str, Path]) -> dict[str, str]:
    """Put one of each kind in force; gives what is then applied."""
    live.apply(message("rules", RULES))
    live.apply(message("policy", OTHER_POLICY))
    live.apply(message("communities", COMMUNITIES))
    live.apply(message("switches", "disabled_categories: [sexual]"))
    live.apply(message("bank", BANK, "scams"))
    live.apply(message("model", f"folder: {models['strict']}", "fast_text"))
    return live.applied()


def test_rules_come_and_go(live: LiveCascade) -> None:
    before = decide(live, "look, a z.e.b.r.a")
    assert before.action == "allow"
    live.apply(message("rules", RULES))
    after = decide(live, "look, a z.e.b.r.a")
    assert (after.action, after.category, after.stage) == ("remove", "threat", "rules")
    assert after.rules_hash == live.applied()["rules_hash"] != before.rules_hash
    live.withdraw("rules")
    again = decide(live, "look, a z.e.b.r.a")
    assert (again.action, again.rules_hash) == ("allow", before.rules_hash)


def test_banks_come_as_deltas_and_go_one_by_one(live: LiveCascade) -> None:
    live.apply(message("bank", BANK, "scams"))
    live.apply(message("bank", MORE_BANK, "scams-later"))
    assert [decide(live, text).action for text in ("A known SCAM", "a second scam")] == [
        "remove",
        "remove",
    ]
    live.withdraw("bank/scams-later")
    assert [decide(live, text).action for text in ("a known scam", "a second scam")] == [
        "remove",
        "allow",
    ]
    live.withdraw("bank/scams")
    assert decide(live, "a known scam").action == "allow"


def test_a_delta_does_not_go_while_another_builds_on_it(live: LiveCascade) -> None:
    live.apply(message("bank", BANK, "a"))
    live.apply(message("bank", MORE_BANK, "b"))
    applied = live.applied()
    with pytest.raises(ConfigError, match="does not exist yet"):
        live.withdraw("bank/a")
    assert live.applied() == applied


def test_a_delta_applied_again_replaces_itself(live: LiveCascade) -> None:
    """Redelivery, or a correction: it is laid over the files, not over itself."""
    live.apply(message("bank", BANK, "scams"))
    live.apply(message("bank", BANK, "scams"))
    live.apply(message("bank", BANK.replace("a known", "").replace("scam-1", "scam-9"), "scams"))
    (evidence,) = decide(live, "a known scam").evidence
    assert evidence.id.endswith("scam-9")


def test_models_come_and_go(live: LiveCascade, models: dict[str, Path]) -> None:
    calm = decide(live, "anything")
    live.apply(message("model", f"folder: {models['strict']}", "fast_text"))
    strict = decide(live, "anything")
    assert calm.action == "allow"
    assert strict.action != "allow"
    # The cache of the former model is not used.
    assert strict.cache == ""
    assert strict.model_versions["fast_text"] != calm.model_versions["fast_text"]
    live.withdraw("model/other")
    assert decide(live, "anything").action == strict.action
    live.withdraw("model/fast_text")
    assert decide(live, "anything").model_versions == calm.model_versions


def test_there_is_no_other_model(live: LiveCascade, models: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="no model other; there are deep_text, fast_text, fusion"):
        live.apply(message("model", f"folder: {models['strict']}", "other"))


def test_a_heavy_tier_comes_and_goes(
    live: LiveCascade, models: dict[str, Path], tmp_path: Path
) -> None:
    live.apply(message("model", f"folder: {deep_kit.write_package(tmp_path)}", "deep_text"))
    version = live.applied()["model:deep_text"]
    with pytest.raises(ConfigError, match="is no model manifest"):
        live.apply(message("model", f"folder: {models['strict']}", "deep_text"))
    assert live.applied()["model:deep_text"] == version
    live.withdraw("model/deep_text")
    assert "model:deep_text" not in live.applied()


def test_a_fusion_by_trees_is_a_setting() -> None:
    settings = load_settings("dev")
    redis = settings.redis.model_copy(update={"enabled": False})
    package = ROOT / "conf/models/fusion"
    files = settings.cascade.model_copy(update={"fusion_model": package})
    found = compose_cascade(settings.model_copy(update={"redis": redis, "cascade": files}))
    linear = LinearFusion.load(ROOT / settings.cascade.fusion)
    version = LightGbmFusion.load(package, linear).version
    made = decide(found, "you are a complete idiot")
    assert made.model_versions["fusion"] == version
    assert made.probability > 0.5


def test_a_fusion_comes_and_goes(live: LiveCascade, tmp_path: Path) -> None:
    started = live.applied()
    before = decide(live, "you are a complete idiot")
    package = ROOT / "conf/models/fusion"
    live.apply(message("model", f"folder: {package}", "fusion"))
    trees = decide(live, "you are a complete idiot")
    version = live.applied()["model:fusion"]
    assert trees.model_versions["fusion"] == version != before.model_versions["fusion"]
    # What no model scored stays with the coefficients that the job was started with.
    assert version.endswith(f"+{before.model_versions['fusion']}")
    broken = tmp_path / "broken"
    shutil.copytree(package, broken)
    (broken / "forest.npz").write_bytes(b"no forest")
    for wrong in (broken, tmp_path / "nowhere", ROOT / "conf/models/fast_text"):
        with pytest.raises(ConfigError):
            live.apply(message("model", f"folder: {wrong}", "fusion"))
        assert live.applied()["model:fusion"] == version
    # Another part that changes leaves it in force, and itself over itself is the same.
    live.apply(message("rules", RULES))
    live.apply(message("model", f"folder: {package}", "fusion"))
    assert live.applied()["model:fusion"] == version
    live.withdraw("rules")
    live.withdraw("model/fusion")
    assert live.applied() == started
    assert decide(live, "you are a complete idiot").probability == before.probability


def test_switches_and_communities_survive_a_later_policy(live: LiveCascade) -> None:
    live.apply(message("rules", RULES))
    live.apply(message("communities", COMMUNITIES))
    live.apply(message("switches", "disabled_actions: [remove]"))
    first = live.applied()["policy_hash"]
    live.apply(message("policy", OTHER_POLICY))
    assert live.applied()["policy_hash"] != first
    assert live.cascade.policy.version == "other"
    assert decide(live, "zebra", community_id="zoo").action == "allow"
    assert decide(live, "zebra").action == "review"
    # And each goes alone.
    live.withdraw("switches")
    assert decide(live, "zebra").action == "remove"
    assert decide(live, "zebra", community_id="zoo").action == "allow"
    live.withdraw("communities")
    assert decide(live, "zebra", community_id="zoo").action == "remove"
    assert live.cascade.policy.version == "other"
    live.withdraw("policy")
    assert live.cascade.policy.version != "other"


def test_observe_only_allows_and_says_what_would_have_been_done(live: LiveCascade) -> None:
    live.apply(message("rules", RULES))
    live.apply(message("switches", "observe_only: true"))
    decision = decide(live, "zebra")
    assert (decision.status, decision.action) == ("approved", "allow")
    assert "Observe-only" in decision.reason
    assert decision.policy_hash == live.applied()["policy_hash"]
    live.apply(message("switches", "observe_only: false"))
    assert decide(live, "zebra").action == "remove"


def test_a_killed_category_does_not_act(live: LiveCascade) -> None:
    live.apply(message("rules", RULES))
    live.apply(message("switches", "disabled_categories: [threat]"))
    assert decide(live, "zebra").action == "allow"
    live.withdraw("switches")
    assert decide(live, "zebra").action == "remove"


def test_a_policy_that_breaks_the_overrides_in_force_is_refused(live: LiveCascade) -> None:
    """Or the overrides would silently be gone."""
    live.apply(message("communities", COMMUNITIES.replace("threat", "gore")))
    applied = live.applied()
    start = POLICY.index("  gore:\n")
    without_gore = POLICY[:start] + POLICY[POLICY.index("  nudity:\n") :]
    with pytest.raises(ConfigError, match=r"communities\.yaml:4"):
        live.apply(message("policy", without_gore))
    assert live.applied() == applied


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_a_mistake_leaves_everything_as_it_was(
    live: LiveCascade, models: dict[str, Path], kind: ControlKind
) -> None:
    applied = everything_applied(live, models)
    cascade = live.cascade
    names = {"bank": "scams", "model": "fast_text"}
    with pytest.raises(ConfigError) as refused:
        live.apply(message(kind, WRONG[kind], names.get(kind, "")))
    if kind != "model":  # that mistake is in the folder, not in a line
        assert str(refused.value).startswith(f"{kind}.yaml:")
    assert live.cascade is cascade
    assert live.applied() == applied
    # Nothing of the mistake turns up later.
    live.apply(message("rules", RULES))
    assert live.applied() == applied


def test_each_kind_is_told_by_its_digest_and_goes_without_trace(
    live: LiveCascade, models: dict[str, Path]
) -> None:
    started = live.applied()
    assert not [name for name in started if name.startswith("message:")]
    applied = everything_applied(live, models)
    keys = ["bank/scams", "communities", "model/fast_text", "policy", "rules", "switches"]
    assert [name for name in applied if name.startswith("message:")] == [
        f"message:{key}" for key in keys
    ]
    assert applied["message:rules"] == message("rules", RULES).digest
    for part in ("policy_hash", "rules_hash", "banks_hash", "model:fast_text"):
        assert applied[part] != started[part]
    for key in keys:
        live.withdraw(key)
    assert live.applied() == started
    # What was never there goes as well.
    live.withdraw("rules")
    assert live.applied() == started


def test_the_order_of_messages_does_not_matter(models: dict[str, Path], live: LiveCascade) -> None:
    applied = everything_applied(live, models)
    for key in ("policy", "communities", "switches"):
        live.withdraw(key)
    live.apply(message("switches", "disabled_categories: [sexual]"))
    live.apply(message("communities", COMMUNITIES))
    live.apply(message("policy", OTHER_POLICY))
    assert live.applied() == applied
