"""Live configuration of a real job: published with `scripts/control`, in force on every subtask."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from schemas.control import ControlKind, ControlMessage
from schemas.settings import ROOT, Settings
from schemas.trust import load_trust
from schemas.user_events import LabelGiven
from scripts.cli.control_topic import ControlTopic, now
from scripts.cli.erase_state import forget_state
from scripts.cli.kafka_topics import client_options, delete_topics, ensure_topics
from scripts.cli.local_stack import Stack
from scripts.cli.processes import wait_until
from scripts.cli.user import say
from tests.conftest import settings_on
from tests.control_kit import POLICY, SUBTASKS, USERS, VERSION, ZOO, Live, Said, digest, rules
from tests.test_control_command import WIDER_POLICY
from udfs.banks import hash_text

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    found = settings_on(stack, "control")
    ensure_topics(found)
    yield found
    delete_topics(found)


@pytest.fixture(scope="module")
def running(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    # What a job without state finds on the compacted topic: each key where it was last changed,
    # so the overrides stand before the policy whose new category they name.
    early: list[tuple[ControlKind, str]] = [
        ("communities", ZOO.replace("threat", "astrology")),
        ("rules", rules("early", "zebra").replace("threat", "astrology")),
        ("policy", WIDER_POLICY),
    ]
    with ControlTopic(settings) as topic:
        for kind, text in early:
            topic.publish(ControlMessage(kind=kind, text=text, published_at=now()))
    live = Live(settings, tmp_path_factory.mktemp("control"), lambda: Said(0, "", ""))
    try:
        for kind, _ in early:
            live.answers_about(kind, SUBTASKS, lambda ack: ack.ok)
        live.at_start = (live.decide("zebra"), live.decide("zebra", community_id="zoo"))
        live.withdraw_all()
        yield live
    finally:
        live.job.kill()
        live.answers.close()


@pytest.fixture
def live(running: Live, capsys: pytest.CaptureFixture[str]) -> Iterator[Live]:
    """The job, with nothing published when the test begins."""

    def said() -> Said:
        captured = capsys.readouterr()
        return Said(0, captured.out, captured.err)

    running._said = said
    yield running
    running.withdraw_all()


def in_force(said: Said) -> None:
    """The command ended well and every subtask accepted."""
    assert said.status == 0, said
    for number in range(1, SUBTASKS + 1):
        assert f"subtask {number}/{SUBTASKS}: in force" in said.out


def test_a_job_without_state_reads_the_topic_again(live: Live) -> None:
    everywhere, zoo = live.at_start
    assert {(d.action, d.category) for d in everywhere} == {("remove", "astrology")}
    assert {d.action for d in zoo} == {"allow"}
    # What had to wait for the policy was refused first, and accepted with it.
    answers = live.answers_about("communities", SUBTASKS, lambda ack: "astrology" in ack.error)
    assert len(answers) == SUBTASKS


def test_a_new_keyword_is_live_on_every_subtask_within_5_seconds(live: Live) -> None:
    before = live.decide("look, a zebra")
    assert {d.action for d in before} == {"allow"}
    said = live.apply(rules("one", "zebra"), "zebra.yaml", "--comment", "zebras bite")
    in_force(said)
    assert "+    terms: [zebra]" in said.out
    after = live.decide("look, a z3bra and a zebra")
    assert {(d.action, d.category, d.stage) for d in after} == {("remove", "threat", "rules")}
    answers = live.answers_about(
        "rules", SUBTASKS, lambda ack: ack.digest == digest("one", "zebra")
    )
    assert {ack.subtask for _, ack in answers} == set(range(SUBTASKS))
    hashes = {ack.applied["rules_hash"] for _, ack in answers}
    assert {d.rules_hash for d in after} == hashes != {d.rules_hash for d in before}
    # From the broker's time of the message to that of the last subtask's answer.
    assert max(r.timestamp_ms for r, _ in answers) - live.published_ms("rules") < 5000
    listed = live.control("list").out
    assert "rules" in listed
    assert "zebras bite" in listed
    assert live.control("show", "rules").out == rules("one", "zebra")


def test_what_is_said_about_a_user_acts_on_the_next_upload_and_an_erasure_forgets_it(
    live: Live,
) -> None:
    settle_s = load_trust(ROOT / "conf/trust.yaml").settle_ms / 1000
    assert live.decide_as("somebody", "good morning").action == "allow"
    given = LabelGiven(user_id="somebody", name="suspended", reason="fraud", by="anna", at=now())
    assert say(live.settings, [given], 20)  # it is in the row that the job writes
    time.sleep(settle_s)
    barred = live.decide_as("somebody", "good morning again")
    assert (barred.action, barred.severity, barred.stage) == ("remove", "none", "policy")
    assert barred.reason == "The account is restricted: This account is suspended."
    assert barred.features["uploads"] == 1
    until = now()
    said = forget_state(live.settings, "somebody", until)
    everybody = {"subtasks": SUBTASKS, "answered": SUBTASKS}
    # No feedback job runs here.
    nobody = {"subtasks": 0, "answered": 0}
    assert said == {
        "published": True, "contents": 0, "moderation": everybody, "feedback": nobody,
    }  # fmt: skip
    time.sleep(settle_s)
    fresh = live.decide_as("somebody", "good evening")
    assert fresh.action == "allow"
    assert (fresh.features["uploads_1d"], "uploads" in fresh.features) == (1, False)


def test_a_wrong_file_is_refused_locally_and_nothing_is_published(live: Live) -> None:
    end = live.control_end()
    said = live.apply(rules("one", "zebra").replace("severity: severe", "severity: dire"))
    assert str(said.status).startswith(f"control: {live.folder / 'live.yaml'}:6: rules.0.severity")
    assert said.out == ""
    assert "disabled_actions" in str(live.apply("observe_only: true\ndisabled_actions: [allow]\n"))
    assert "no category zebras" in str(live.control("kill", "category", "zebras").status)
    assert live.control_end() == end


def test_a_message_with_an_error_is_refused_by_every_subtask_and_the_old_stays(live: Live) -> None:
    """Published past the command's own check."""
    in_force(live.apply(rules("one", "zebra")))
    hashes = {d.rules_hash for d in live.decide("zebra")}
    wrong = ControlMessage(
        kind="rules", text=rules("two", "yak").replace("terms", "tems"), file="w.yaml",
        published_at=now(),
    )  # fmt: skip
    with ControlTopic(live.settings) as topic:
        topic.publish(wrong)
        replies = topic.wait("rules", wrong.digest, 10)
        assert replies.complete
    assert len(replies.acks) == SUBTASKS
    for ack in replies.acks:
        assert not ack.ok
        assert ack.error.startswith("w.yaml:3: rules.0.")
        assert {ack.applied["rules_hash"]} == hashes
    # What is no control message at all is answered as well.
    producer = KafkaProducer(**client_options(live.settings))
    producer.send(live.settings.topics.control, key=b"policy", value=b"\xff{")
    producer.close()
    about = live.answers_about("policy", SUBTASKS, lambda ack: "not a control" in ack.error)
    assert {(ack.subtask, ack.ok) for _, ack in about} == {(n, False) for n in range(SUBTASKS)}
    assert {(d.action, d.rules_hash) for d in live.decide("zebra and yak")} == {("remove", *hashes)}
    # The way back is the same as from any other version.
    in_force(live.control("rollback", "rules"))
    assert live.control("show", "rules").out == rules("one", "zebra")
    live.control("rollback", "policy")
    with ControlTopic(live.settings) as topic:
        topic.withdraw("policy")


def test_observe_only_on_and_off(live: Live) -> None:
    in_force(live.apply(rules("one", "zebra")))
    in_force(live.control("observe", "on"))
    observed = live.decide("zebra")
    assert {d.action for d in observed} == {"allow"}
    assert all("Observe-only" in d.reason for d in observed)
    in_force(live.control("observe", "off"))
    assert live.actions("zebra") == {"remove"}


def test_categories_and_actions_are_killed_and_come_back(live: Live) -> None:
    in_force(live.apply(rules("one", "zebra")))
    in_force(live.control("kill", "category", "threat"))
    assert live.actions("zebra") == {"allow"}
    in_force(live.control("kill", "action", "remove"))
    in_force(live.control("kill", "category", "threat", "--undo"))
    held = live.decide("zebra")
    assert {d.action for d in held} == {"review"}
    in_force(live.control("kill", "action", "remove", "--undo"))
    assert live.actions("zebra") == {"remove"}


def test_communities_policy_and_banks(live: Live) -> None:
    in_force(live.apply(rules("one", "zebra")))
    in_force(live.apply(ZOO))
    assert live.actions("zebra", community_id="zoo") == {"allow"}
    assert live.actions("zebra") == {"remove"}
    # A later policy does not take the overrides with it.
    in_force(live.apply(VERSION.sub("version: live", POLICY, count=1)))
    changed = live.decide("zebra", community_id="zoo")
    assert {(d.action, d.policy_version) for d in changed} == {("allow", "live")}
    known = hash_text("a very special offer")
    delta = (
        "version: 1\nbank: scams\ncategory: spam\nseverity: severe\n"
        f"add:\n  - {{hash: {known}, id: s1}}\n"
    )
    in_force(live.apply(delta, "scams.yaml"))
    found = live.decide("A very SPECIAL offer")
    assert {(d.action, d.stage) for d in found} == {("remove", "bank")}
    assert "bank/scams" in live.control("list").out
    in_force(live.control("rollback", "bank/scams"))
    assert live.actions("a very special offer") == {"allow"}


def test_a_known_picture_is_live_on_every_subtask_within_5_seconds(live: Live) -> None:
    known, near = "0f" * 32, "0e" + "0f" * 31
    before = live.look_at(near)
    assert {(d.action, d.stage) for d in before} == {("review", "policy")}  # no model has looked
    delta = (
        "version: 1\nmedia_bank: horrors\nkind: pdq\ncategory: gore\nseverity: severe\n"
        f"add:\n  - {{hash: '{known}', id: h1}}\n"
    )
    in_force(live.apply(delta, "horrors.yaml"))
    after = live.look_at(near)
    assert {(d.action, d.category, d.stage) for d in after} == {("remove", "gore", "bank")}
    (match,) = after[0].evidence
    assert (match.id, match.distance, match.source) == ("horrors/h1", 1, "pixels")
    assert {d.banks_hash for d in after}.isdisjoint(d.banks_hash for d in before)
    answers = live.answers_about("media_bank/horrors", SUBTASKS, lambda ack: ack.ok)
    published = live.published_ms("media_bank/horrors")
    assert max(r.timestamp_ms for r, _ in answers) - published < 5000
    gone = "version: 1\nmedia_bank: horrors\nwithdraw: [h1]\n"
    in_force(live.apply(gone, "horrors.later.yaml"))
    assert {d.action for d in live.look_at(near)} == {"review"}


def test_versions_are_kept_compared_and_rolled_back(live: Live) -> None:
    for version, terms in (("one", ["zebra"]), ("two", ["zebra", "yak"]), ("three", ["yak"])):
        in_force(live.apply(rules(version, *terms)))
    compared = live.control("diff", live.folder / "live.yaml").out
    assert "nothing changes" in compared
    history = live.control("show", "rules", "--history").out.splitlines()[-3:]
    first = history[0].split()[0]
    said = live.control("rollback", "rules")
    in_force(said)
    assert "+    terms: [zebra, yak]" in said.out
    assert live.actions("zebra") == {"remove"}
    in_force(live.control("rollback", "rules", "--to", first))
    assert live.actions("yak") == {"allow"}
    in_force(live.control("rollback", "rules", "--to", "file"))
    assert live.actions("zebra") == {"allow"}
    assert "nothing is published under rules" in str(live.control("rollback", "rules").status)


def test_prometheus_reads_whole_histograms(live: Live) -> None:
    """Here for the sake of the running job."""
    live.decide("hello")
    prefix = "flink_taskmanager_job_task_operator_sluice_"
    scraped = ""

    def figure(name: str, label: str = "") -> float:
        pattern = rf"^{prefix}{name}\{{(?=[^}}]*{re.escape(label)})[^}}]*\}} (\S+)"
        return sum(map(float, re.findall(pattern, scraped, re.MULTILINE)))

    def handed_on() -> bool:
        nonlocal scraped
        address = f"http://127.0.0.1:{live.metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=5) as reply:
            scraped = reply.read().decode()
        # Nothing is uploaded meanwhile, so the figures agree once all are handed on.
        return (
            USERS
            <= figure("latency_ms_count")
            == figure("le_latency_ms_bucket", 'le="+Inf"')
            == figure("action_stage_decisions") - figure("case_latency_ms_count")
            == figure("content_type_uploads")
        )

    assert wait_until(handed_on, timeout_s=20, every_s=0.5), scraped


def test_still_in_force_after_a_resume(live: Live) -> None:
    in_force(live.apply(rules("one", "zebra")))
    in_force(live.control("kill", "action", "remove"))
    in_force(live.apply(ZOO))
    before = live.decide("zebra")[0]
    live.answers.settle(2.5)  # at least one checkpoint

    live.restart("--resume")
    resumed = live.decide("zebra")
    assert {d.action for d in resumed} == {"review"}
    assert {(d.rules_hash, d.policy_hash) for d in resumed} == {
        (before.rules_hash, before.policy_hash)
    }
    assert live.actions("zebra", community_id="zoo") == {"allow"}
    for key in ("rules", "switches", "communities"):
        back = live.answers_about(key, SUBTASKS, lambda ack: ack.restored and ack.ok)
        assert len(back) == SUBTASKS
    # And what comes then is laid over it.
    in_force(live.apply(rules("two", "yak")))
    assert live.actions("yak") == {"review"}
    assert live.actions("zebra") == {"allow"}
