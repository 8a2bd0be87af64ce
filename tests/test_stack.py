"""The local Kafka and Redis: they come up, survive violence, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka.admin import ConfigResource, ConfigResourceType

from schemas.settings import ROOT, Settings, load_settings
from scripts.cli.consume import full_name, records
from scripts.cli.kafka_topics import admin, client_options, ensure_topics, topic_plan
from scripts.cli.local_stack import Stack, resolve
from scripts.cli.processes import Process, ProcessError, free_port, port_is_free, wait_until
from scripts.cli.publisher import Prepared, UploadPublisher
from tests.conftest import settings_on

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that the tests of this file may kill."""
    with Stack(tmp_path_factory.mktemp("victim"), die_with_parent=True, quick=True) as up:
        yield up


def sleeper(folder: Path, *, stubborn: bool = False) -> Process:
    script = "import signal, time\n"
    script += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    script += "print('on', flush=True)\ntime.sleep(60)"
    process = Process(folder / "sleeper.pid")
    out = folder / "out"
    process.start([sys.executable, "-c", script], log=folder / "log", out=out)
    assert wait_until(lambda: out.read_text() != "", timeout_s=10)
    return process


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_process_stops_politely_and_by_force(tmp_path: Path) -> None:
    for stubborn in (False, True):
        process = sleeper(tmp_path, stubborn=stubborn)
        pid = process.pid
        assert pid is not None
        process.stop(patience_s=0.3)
        assert process.pid is None
        assert not alive(pid)
        assert not process.pid_file.exists()


def test_pid_of_somebody_else_is_not_taken_for_ours(tmp_path: Path) -> None:
    pid_file = tmp_path / "old.pid"
    pid_file.write_text(f"{os.getpid()} 12345")  # this very process, but an older start
    assert Process(pid_file).pid is None
    Process(pid_file).stop()
    assert not pid_file.exists()


def test_free_port_is_below_the_outgoing_range() -> None:
    port = free_port()
    assert port_is_free(port)
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert port < low
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not port_is_free(port)


def test_status_has_addresses(stack: Stack) -> None:
    status = stack.status()
    assert status["up"] is True
    host, _, port = status["kafka"].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert redis.Redis.from_url(status["redis_url"]).ping()


def test_up_twice_changes_nothing(stack: Stack) -> None:
    before = stack.status()
    again = Stack(stack.directory).up()
    assert again.status() == before


def test_redis_listens_on_this_machine_only_and_keeps_nothing(stack: Stack) -> None:
    client: Any = redis.Redis.from_url(stack.redis_url)  # the stubs mix in the async client
    for name, value in {"bind": "127.0.0.1", "protected-mode": "yes", "save": ""}.items():
        assert client.config_get(name)[name] == value


def test_topics_are_made_as_planned(stack_settings: Settings) -> None:
    topics = stack_settings.topics
    client = admin(stack_settings)
    try:
        found = {topic["name"]: topic for topic in client.describe_topics(list(topics))}
        assert set(found) == set(topics)
        assert len(found[topics.content_text]["partitions"]) == stack_settings.kafka.partitions
        assert len(found[topics.control]["partitions"]) == 1
        for name, plan in topic_plan(stack_settings).items():
            configs = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            values = json.dumps(configs)
            for wanted in plan["configs"].values():
                assert wanted in values, (name, wanted)
    finally:
        client.close()
    assert ensure_topics(stack_settings) == []


def test_timestamps_are_the_brokers(stack_settings: Settings) -> None:
    with UploadPublisher(stack_settings) as publisher:
        receipts: list[int] = []
        record = Prepared(stack_settings.topics.content_text, None, b"u", b"{}")
        publisher.send(record, lambda receipt: receipts.append(receipt.timestamp_ms))
        publisher.flush()
    (seen,) = records(
        stack_settings, [stack_settings.topics.content_text], from_beginning=True, timeout_s=0.5
    )
    assert receipts == [seen.timestamp_ms]
    assert (seen.key, seen.value) == (b"u", b"{}")


def test_broker_killed_and_started_again_keeps_port_and_data(victim: Stack) -> None:
    settings = settings_on(victim, "survivor")
    ensure_topics(settings)
    topic = settings.topics.decisions
    with UploadPublisher(settings) as publisher:
        for number in range(20):
            publisher.send(Prepared(topic, None, b"k", str(number).encode()))
        publisher.flush()
        address = victim.kafka
        victim.kafka_process.kill()
        assert not victim.kafka_up()
        victim.restart_kafka()
        assert victim.kafka == address
        publisher.send(Prepared(topic, None, b"k", b"after"))
        publisher.flush()
        assert publisher.failures == []
    values = [r.value for r in records(settings, [topic], from_beginning=True, timeout_s=1)]
    assert values == [str(number).encode() for number in range(20)] + [b"after"]


def test_redis_killed_and_started_again_keeps_its_port(victim: Stack) -> None:
    client = redis.Redis.from_url(victim.redis_url)
    client.set("kept", "no")
    victim.redis_process.kill()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    victim.restart_redis()
    assert client.get("kept") is None


def test_up_replaces_what_has_died(victim: Stack) -> None:
    victim.redis_process.kill()
    assert victim.redis_process.pid_file.exists()
    assert not victim.status()["up"]
    assert Stack(victim.directory, die_with_parent=True).up().status()["up"]


def test_given_addresses_are_used_and_left_alone(stack: Stack, tmp_path: Path) -> None:
    given = Stack(tmp_path / "given", kafka=stack.kafka, redis=stack.redis_url).up()
    assert (given.kafka, given.redis_url) == (stack.kafka, stack.redis_url)
    assert given.status()["kafka_pid"] is None
    given.down(wipe=True)
    assert stack.status()["up"]


def test_given_address_without_a_server_is_refused(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(ProcessError, match=rf"no redis answers at {nobody}"):
        Stack(tmp_path / "x", kafka=nobody, redis=f"redis://{nobody}/0").up()


def test_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "x", die_with_parent=True, quick=True)
    (tmp_path / "x").mkdir()
    # A folder that was formatted for another cluster.
    (tmp_path / "x/kafka").mkdir()
    (tmp_path / "x/kafka/meta.properties").write_text("version=1\nnode.id=7\ncluster.id=other\n")
    with pytest.raises(ProcessError, match="kafka did not start") as caught:
        stack.up()
    assert "node.id" in str(caught.value) or "node id" in str(caught.value)
    stack.down(wipe=True)
    assert not (tmp_path / "x").exists()


def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import pathlib, time
        from scripts.cli.local_stack import Stack
        stack = Stack(pathlib.Path({str(tmp_path / "orphan")!r}), die_with_parent=True, quick=True)
        stack.up()
        print("up", flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        stack = Stack(tmp_path / "orphan")
        assert stack.status()["up"]
        parent.send_signal(signal.SIGKILL)
    gone = wait_until(
        lambda: stack.kafka_process.pid is None and stack.redis_process.pid is None, timeout_s=20
    )
    assert gone


def test_addresses_come_from_arguments_then_environment_then_stack(
    monkeypatch: pytest.MonkeyPatch, stack: Stack
) -> None:
    monkeypatch.setattr("scripts.cli.local_stack.DEFAULT_DIR", stack.directory)
    monkeypatch.setattr(Stack.__init__, "__defaults__", (stack.directory,))
    assert resolve(load_settings("dev")).kafka.bootstrap == stack.kafka
    assert resolve(load_settings("dev")).redis.url == stack.redis_url
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP", "elsewhere:1")
    assert resolve(load_settings("dev")).kafka.bootstrap == "elsewhere:1"
    assert resolve(load_settings("dev"), kafka="given:2").kafka.bootstrap == "given:2"


def test_clients_of_a_secure_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    settings = load_settings("dev")
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    client = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": f'{module} username="sluice" password="${{SECRET}}";',
        "linger.ms": "3",
    }
    kafka = settings.kafka.model_copy(update={"client": client, "bootstrap": "a:1,b:2"})
    assert client_options(settings.model_copy(update={"kafka": kafka})) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "sluice",
        "sasl_plain_password": "s3cret",
    }


def test_short_topic_names() -> None:
    topics = load_settings("dev").topics
    assert full_name("decisions", topics) == "moderation.decisions"
    assert full_name("dead_letters", topics) == "moderation.dead-letters"
    assert full_name("content.text", topics) == "moderation.content.text"
    assert full_name("other.topic", topics) == "other.topic"
    with pytest.raises(Exception, match=r"no topic decision; there are: content\.text"):
        full_name("decision", topics)


def test_stack_command(tmp_path: Path) -> None:
    env = {**os.environ, "SLUICE_RUN_DIR": str(tmp_path)}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "scripts/stack", *arguments],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    try:
        assert command("status").returncode == 1
        up = command("up", "--json")
        assert up.returncode == 0, up.stderr
        first = json.loads(up.stdout)
        assert json.loads(command("status", "--json").stdout) == first
        settings = settings_on(Stack(tmp_path / "stack"), "moderation")
        assert ensure_topics(settings) == []  # `up` has made them
        down = command("down")
        assert down.returncode == 0, down.stderr
        assert command("status").returncode == 1
        assert (tmp_path / "stack/kafka/meta.properties").is_file()  # the data stays
        for pid in (first["kafka_pid"], first["redis_pid"]):
            assert not alive(pid)
    finally:
        command("down", "--wipe")
    assert not (tmp_path / "stack").exists()
