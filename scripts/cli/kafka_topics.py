"""Topics, and how a Python client reaches the broker that the settings name."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any, Final

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.errors import ConfigError, DependencyUnavailableError
from schemas.settings import Settings
from schemas.topics import COMPACTED, Topics

OUTPUT_MAX_BYTES: Final = 4 * 1024 * 1024
"""Largest record of an output topic: base64 or an audit record can make more of an upload
than it was, and a broker that refuses a dead letter would stop the job for ever."""

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_LOGIN: Final = re.compile(r'(username|password)\s*=\s*"([^"]*)"')


def client_options(settings: Settings) -> dict[str, Any]:
    """Options for kafka-python's clients, from the properties that Flink's connector gets.

    Reads `bootstrap` and, out of `kafka.client`, security.protocol, sasl.mechanism,
    sasl.jaas.config (username and password) and ssl.ca.location; what else is there is for
    Java clients only.

    Raises:
        ConfigError: where a value names an environment variable that is not set.
    """
    client = {name: _expand(name, value) for name, value in settings.kafka.client.items()}
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka.bootstrap.split(",")}
    for name in ("security.protocol", "sasl.mechanism"):
        if name in client:
            options[name.replace(".", "_")] = client[name]
    if "ssl.ca.location" in client:
        options["ssl_cafile"] = client["ssl.ca.location"]
    login = dict(_LOGIN.findall(client.get("sasl.jaas.config", "")))
    if login:
        options["sasl_plain_username"] = login.get("username", "")
        options["sasl_plain_password"] = login.get("password", "")
    return options


def _expand(name: str, value: str) -> str:
    def variable(found: re.Match[str]) -> str:
        try:
            return os.environ[found.group(1)]
        except KeyError:
            raise ConfigError(
                f"names the environment variable {found.group(1)}, which is not set",
                field=f"kafka.client.{name}",
            ) from None

    return _VARIABLE.sub(variable, value)


def admin(settings: Settings) -> KafkaAdminClient:
    """Connect as an administrator. The caller closes it.

    Raises:
        DependencyUnavailableError: where no broker answers.
    """
    try:
        return KafkaAdminClient(**client_options(settings), bootstrap_timeout_ms=10_000)
    except KafkaError as error:
        raise DependencyUnavailableError(
            "kafka", f"no broker answers at {settings.kafka.bootstrap} ({error})"
        ) from error


def wait_for_topics(settings: Settings, stopped: Callable[[], bool]) -> bool:
    """Wait as long as `kafka.patience_s` says until every topic is there.

    Args:
        settings: name broker and topics.
        stopped: whether to give up at once.

    Returns:
        False where it was stopped.

    Raises:
        DependencyUnavailableError: where the broker or a topic is still missing then.
    """
    deadline = time.monotonic() + settings.kafka.patience_s
    missing = set(settings.topics)
    while not stopped():
        try:
            client = admin(settings)
            try:
                missing = set(settings.topics) - set(client.list_topics())
            finally:
                client.close()
            if not missing:
                return True
        except (DependencyUnavailableError, KafkaError):
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise DependencyUnavailableError("kafka", f"no topic {min(missing)}")
        time.sleep(0.2)
    return False


def topic_plan(settings: Settings) -> dict[str, dict[str, Any]]:
    """Say how each topic is made: name to partitions, replicas and configuration.

    Broker timestamps everywhere (LogAppendTime): latency is measured between them.
    """
    topics = settings.topics
    plan: dict[str, dict[str, Any]] = {}
    for field, name in zip(Topics._fields, topics, strict=True):
        configs = {"message.timestamp.type": "LogAppendTime"}
        if field in COMPACTED:
            configs["cleanup.policy"] = "compact"
        else:
            configs["retention.ms"] = str(settings.kafka.retention_hours * 3_600_000)
        if name not in topics.content:
            configs["max.message.bytes"] = str(OUTPUT_MAX_BYTES)
        plan[name] = {
            # Control messages must be seen in one order by everybody.
            "num_partitions": 1 if field in COMPACTED else settings.kafka.partitions,
            "replication_factor": settings.kafka.replication,
            "configs": configs,
        }
    return plan


def ensure_topics(settings: Settings) -> list[str]:
    """Make the topics that are not there, and wait until all have leaders.

    Returns:
        Names of the topics that were made.

    Raises:
        DependencyUnavailableError: where no broker answers.
    """
    client = admin(settings)
    try:
        plan = topic_plan(settings)
        there = set(client.list_topics())
        missing = {name: how for name, how in plan.items() if name not in there}
        if missing:
            try:
                client.create_topics(missing)
            except TopicAlreadyExistsError:
                # Somebody else was as quick; the rest may still be missing.
                client.create_topics(missing, raise_errors=False)
        client.wait_for_topics(list(plan))
        return list(missing)
    finally:
        client.close()


def delete_topics(settings: Settings) -> None:
    """Delete the topics under the settings' prefix, as far as they are there."""
    client = admin(settings)
    try:
        there = set(client.list_topics())
        ours = [name for name in settings.topics if name in there]
        if ours:
            client.delete_topics(ours)
    finally:
        client.close()
