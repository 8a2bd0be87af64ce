"""The commands that people type, as they type them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.settings import ROOT, Settings
from scripts.cli.kafka_topics import admin
from scripts.cli.local_stack import Stack
from scripts.cli.processes import wait_until
from scripts.cli.publisher import paced
from tests.conftest import settings_on
from tests.help_kit import COMMANDS, help_of


def run(
    *command: str | Path, env: dict[str, str] | None = None, stdin: bytes = b"", timeout: float = 90
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [ROOT / "scripts" / command[0], *command[1:]],
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=timeout,
    )


def pointing_at(settings: Settings) -> dict[str, str]:
    return {
        "SLUICE_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "SLUICE_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "SLUICE_REDIS__URL": settings.redis.url,
    }


def upload(number: int, **fields: Any) -> bytes:
    body = {
        "content_id": f"c{number}",
        "content_type": "text",
        "user_id": f"u{number % 3}",
        "created_at": "2024-05-05T12:00:00Z",
        "text": f"text {number}",
    }
    return json.dumps(body | fields).encode()


def test_there_are_the_commands_that_the_readme_names() -> None:
    expected = {"consume", "demo", "moderate", "produce", "run", "setup", "stack", "test"}
    assert expected <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    answer = help_of(command)
    assert answer.status == 0, answer.wrong
    assert "sage" in answer.said
    assert os.access(ROOT / "scripts" / command, os.X_OK)


def test_help_comes_through_the_wrapper_and_the_look_for_a_stack() -> None:
    for command in ("produce", "audit"):
        done = run(command, "--help")
        assert (done.returncode, done.stdout.decode()) == (0, help_of(command).said)


def test_environment_check_costs_little() -> None:
    """A set-up that is current must not be felt: the wrapper's own share is a few forks."""
    script = "import time; print(time.monotonic_ns())"
    best = min(_wrapper_seconds(script) for _ in range(5))
    assert best < 0.25  # on a busy machine; measured 0.02


def _wrapper_seconds(script: str) -> float:
    begin = time.monotonic_ns()
    done = subprocess.run(
        [ROOT / "scripts/_run", "timeit", "-n", "1", "-r", "1", script],
        capture_output=True,
        check=True,
    )
    inside = int(done.stdout.split()[0])
    return (inside - begin) / 1e9


def test_setup_again_does_nothing_and_says_so() -> None:
    done = run("setup")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"setup: everything is in place\n"


def test_setup_refuses_unknown_options() -> None:
    assert run("setup", "--nonsense").returncode == 2


@pytest.mark.stack
def test_produce_and_consume(stack_settings: Settings, tmp_path: Path) -> None:
    env = pointing_at(stack_settings)
    lines = [upload(number) for number in range(6)]
    lines.append(upload(6, content_type="image", media_uri="s3://a/b"))
    lines.append(b"")
    lines.append(b"not json")
    lines.append(upload(9, content_type="audio"))
    (tmp_path / "uploads.jsonl").write_bytes(b"\n".join(lines))
    done = run("produce", tmp_path / "uploads.jsonl", env=env)
    assert done.returncode == 0, done.stderr.decode()
    assert b"9 of 9 published" in done.stdout
    assert b"(1 image, 2 malformed, 6 text)" in done.stdout

    read = ("--from-beginning", "--max", "8", "--timeout", "5")
    texts = run("consume", "content.text", *read, env=env).stdout.splitlines()
    assert sorted(texts) == sorted(
        [b'{"$raw":"bm90IGpzb24="}']
        + [json.dumps(json.loads(line), separators=(",", ":")).encode() for line in lines[:6]]
        + [json.dumps(json.loads(lines[-1]), separators=(",", ":")).encode()]
    )
    images = run("consume", "moderation.ignored", env=env)
    assert images.returncode != 0
    assert b"there is no topic moderation.ignored" in images.stderr
    wrapped = run("consume", "content.image", "--metadata", "--max", "1", *read[:1], env=env)
    record = json.loads(wrapped.stdout)
    assert (record["key"], record["value"]["content_id"]) == ("u0", "c6")


@pytest.mark.stack
def test_produce_keeps_one_users_order_in_one_partition(stack_settings: Settings) -> None:
    env = pointing_at(stack_settings)
    lines = b"\n".join(upload(number) for number in range(300))
    assert run("produce", "-", env=env, stdin=lines).returncode == 0
    topic = stack_settings.topics.content_text
    arguments = ("--from-beginning", "--max", "300", "--metadata")
    done = run("consume", topic, *arguments, env=env)
    partitions: dict[str, set[int]] = {}
    numbers: dict[str, list[int]] = {}
    for record in map(json.loads, done.stdout.splitlines()):
        partitions.setdefault(record["key"], set()).add(record["partition"])
        numbers.setdefault(record["key"], []).append(int(record["value"]["content_id"][1:]))
    assert set(numbers) == {"u0", "u1", "u2"}
    assert all(len(found) == 1 for found in partitions.values())
    assert all(found == sorted(found) for found in numbers.values())


@pytest.mark.stack
def test_consume_waits_for_what_is_to_come(stack_settings: Settings) -> None:
    env = pointing_at(stack_settings)
    run("produce", "-", env=env, stdin=upload(1))
    with subprocess.Popen(
        [ROOT / "scripts/consume", "content.text", "--max", "1"],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
    ) as reader:
        time.sleep(2.5)
        run("produce", "-", env=env, stdin=upload(2))
        out, _ = reader.communicate(timeout=20)
    assert json.loads(out)["content_id"] == "c2"


def test_commands_speak_in_sentences_when_there_is_no_broker() -> None:
    nobody = {"SLUICE_KAFKA__BOOTSTRAP": "127.0.0.1:1"}
    done = run("produce", "/no/such/file", env=nobody)
    assert (done.returncode, done.stderr) == (1, b"produce: no such file: /no/such/file\n")
    done = run("consume", "nonsense", env=nobody)
    assert done.stderr.startswith(b"consume: no topic nonsense; there are: content.text")
    wrong = run("stack", "up", env={"SLUICE_KAFKA__PARTITIONS": "none"})
    assert wrong.returncode == 1
    assert b"kafka.partitions" in wrong.stderr
    assert b"Traceback" not in wrong.stderr


@pytest.mark.stack
def test_run_is_pointed_at_the_local_stack(stack: Stack, tmp_path: Path) -> None:
    """`scripts/run` and its like find the stack by themselves; the environment wins."""
    (tmp_path / "stack").symlink_to(stack.directory)
    (tmp_path / "shows.py").write_text("import os, sys; print(sys.argv[1:], dict(os.environ))")
    env = {**os.environ, "SLUICE_RUN_DIR": str(tmp_path), "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    command = [sys.executable, "-m", "scripts.cli.on_stack", "shows", "--a", "b"]
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("['--a', 'b']")
    assert f"'SLUICE_KAFKA__BOOTSTRAP': '{stack.kafka}'" in shown
    assert f"'SLUICE_REDIS__URL': '{stack.redis_url}'" in shown
    env["SLUICE_KAFKA__BOOTSTRAP"] = "else:1"
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert "'SLUICE_KAFKA__BOOTSTRAP': 'else:1'" in shown


def test_paced_keeps_the_rate_and_catches_up() -> None:
    begin = time.perf_counter()
    for number in paced(500):
        if number == 20:
            time.sleep(0.1)  # a slow moment
        if number == 150:
            break
    assert 0.29 < time.perf_counter() - begin < 0.6
    counted = [number for number, _ in zip(paced(0), range(5), strict=False)]
    assert counted == [0, 1, 2, 3, 4]
    assert list(paced(100, stop=lambda: True)) == []


# --- the demo, around a job that decides by one word ------------------------------------


@pytest.fixture
def demo_env(stack: Stack, tmp_path: Path) -> dict[str, str]:
    settings = settings_on(stack, "moderation")
    return {
        **pointing_at(settings),
        "SLUICE_KAFKA__PARTITIONS": "2",
        "SLUICE_RUN_DIR": str(tmp_path),
        # Other tests run beside this one; a media job that stands back would wait for them.
        "SLUICE_MEDIA__BACKGROUND": "false",
    }


def demo(env: dict[str, str], *options: str) -> tuple[int, dict[str, Any], str]:
    command = ("demo", "--job", "tests.fake_job", "--no-media", "--json", "--rate", "400", *options)
    done = run(*command, env=env)
    out = done.stdout.splitlines()
    summary = json.loads(out[-1]) if out else {}
    return done.returncode, summary, done.stderr.decode()


@pytest.mark.stack
def test_demo_accounts_for_every_sample(stack: Stack, demo_env: dict[str, str]) -> None:
    status, summary, shown = demo(demo_env, "--seconds", "2")
    assert status == 0, shown
    assert 700 <= summary["uploads"] <= 810
    for nothing in ("undecided", "conflicting_ids", "unsent"):
        assert summary[nothing] == 0, shown
    assert summary["duplicate_ids"] > 0  # samples that are delivered twice
    assert summary["dead_letters"] > 30
    assert summary["decisions"] + summary["dead_letters"] == summary["uploads"]
    assert 0 < summary["p50_ms"] <= summary["p99_ms"]
    assert set(summary["actions"]) == {"allow", "remove"}
    assert "clean" in summary["by_kind"]
    assert 0 < summary["first_decision_s"] < 60
    assert not list(Path(demo_env["SLUICE_RUN_DIR"]).glob("demo-*"))
    # Its topics are gone; the broker that was given is not.
    assert wait_until(lambda: not any("demo-" in name for name in topic_names(stack)), timeout_s=10)


def topic_names(stack: Stack) -> list[str]:
    client = admin(settings_on(stack, "any"))
    try:
        return list(client.list_topics())
    finally:
        client.close()


@pytest.mark.stack
@pytest.mark.parametrize(
    ("fault", "key", "words"),
    [("lose", "undecided", "no answer:"), ("contradict", "conflicting_ids", "differs in action")],
)
def test_demo_fails_where_an_answer_is_missing_or_contradicted(
    demo_env: dict[str, str], fault: str, key: str, words: str
) -> None:
    env = {**demo_env, "SLUICE_TEST_FAULT": fault}
    status, summary, shown = demo(env, "--seconds", "1", "--patience", "3")
    assert status == 1
    assert summary[key] > 0
    assert words in shown


@pytest.mark.stack
def test_demo_says_why_the_job_died(demo_env: dict[str, str]) -> None:
    status, summary, shown = demo({**demo_env, "SLUICE_TEST_FAULT": "die"}, "--seconds", "20")
    assert (status, summary) == (1, {})
    assert "the job ended before its time" in shown
    assert "told to die" in shown


@pytest.mark.stack
def test_demo_publishes_a_file_of_ones_own_once(demo_env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b"\n".join([*(upload(number) for number in range(30)), b"?"]))
    status, summary, shown = demo(demo_env, "--input", str(file))
    assert status == 0, shown
    assert (summary["uploads"], summary["decisions"], summary["dead_letters"]) == (31, 30, 1)


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who has no broker; nothing may be left of what it starts."""
    yield {**os.environ, "SLUICE_RUN_DIR": str(tmp_path)}
    Stack(tmp_path / "stack").down(wipe=True)


def processes_under(folder: Path) -> list[str]:
    """Command lines of living processes that were started with this folder in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in environment and command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_demo_leaves_nothing_running(
    own_stack: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    command = [
        str(ROOT / "scripts/demo"),
        "--job",
        "tests.fake_job",
        "--no-media",
        "--seconds",
        "60",
    ]
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, env=own_stack, stdout=out, stderr=out) as process,
    ):
        assert wait_until(lambda: b"publishing" in log.read_bytes(), timeout_s=60), log.read_text()
        time.sleep(1)
        assert len(processes_under(tmp_path)) >= 3  # broker, Redis, job
        process.send_signal(number)
        process.wait(timeout=40)
    assert process.returncode == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    assert wait_until(lambda: not processes_under(tmp_path), timeout_s=20), processes_under(
        tmp_path
    )
    if number is not signal.SIGKILL:
        assert "uploads" in log.read_text()  # the summary of what there was
        assert not list(tmp_path.glob("demo-*"))


@pytest.mark.stack
def test_demo_keep_leaves_a_stack_that_can_be_stopped(
    own_stack: dict[str, str], tmp_path: Path
) -> None:
    done = run(
        "demo", "--job", "tests.fake_job", "--no-media", "--seconds", "1", "--keep", env=own_stack
    )
    assert done.returncode == 0, done.stdout.decode()
    assert b"still running" in done.stdout
    exported = next(line for line in done.stdout.decode().splitlines() if "export" in line)
    env = dict(pair.split("=", 1) for pair in exported.split()[1:])
    arguments = ("--from-beginning", "--max", "1")
    seen = run("consume", "decisions", *arguments, env={**own_stack, **env})
    assert json.loads(seen.stdout)["content_id"].startswith("sample-")
    status = run("stack", "status", "--json", env=own_stack)
    assert json.loads(status.stdout)["up"]
    assert len(processes_under(tmp_path)) >= 2
    assert run("stack", "down", env=own_stack).returncode == 0
    assert wait_until(lambda: not processes_under(tmp_path), timeout_s=20)


@pytest.mark.e2e
def test_demo_with_the_real_job(demo_env: dict[str, str]) -> None:
    done = run("demo", "--json", "--seconds", "5", "--rate", "100", env=demo_env, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    summary = json.loads(done.stdout.splitlines()[-1])
    for nothing in ("undecided", "conflicting_ids", "unsent"):
        assert summary[nothing] == 0
    # One loop of the file: its malformed lines are refused, everything else is decided.
    assert summary["uploads"] >= 450
    assert summary["dead_letters"] >= 30
    assert "internal" not in summary["dead_letter_kinds"]
    assert summary["by_kind"]["media"].keys() == {"review"}
    # Held at first, then decided with what the media job has found.
    assert summary["media"]["uploads"] == summary["media"]["looked_at"] == 20
    assert summary["media"]["actions"]["remove"] >= 3  # the known picture, turned, and in a clip
    assert summary["by_kind"]["flood"].keys() - {"allow"}
    assert summary["by_kind"]["known_bad"].keys() == {"remove"}
    assert summary["stages"]["bank"] >= 12
    assert summary["by_kind"]["clean"]["allow"] >= 0.9 * sum(summary["by_kind"]["clean"].values())
