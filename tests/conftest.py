"""A real Kafka broker and a real Redis for the tests that ask for them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings as hypothesis_settings

from jobs.local import QUICK_JVM_ARGS
from schemas.settings import Settings, load_settings
from schemas.topics import Topics
from scripts.cli.kafka_topics import delete_topics, ensure_topics
from scripts.cli.local_stack import Stack

# Tests must not see a caller's broker, nor a stack that happens to be up in this folder; where
# the caller keeps data sets is no setting.
for _name in [name for name in os.environ if name.startswith("SLUICE_")]:
    if _name != "SLUICE_DATA":
        del os.environ[_name]

os.environ.setdefault("JVM_ARGS", QUICK_JVM_ARGS)

# A run says the same twice; `--hypothesis-profile search` looks for new examples.
hypothesis_settings.register_profile("same", derandomize=True)
hypothesis_settings.register_profile("search", derandomize=False, max_examples=1000)
hypothesis_settings.load_profile("same")

_numbers = itertools.count(1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured and recorded (`record_property`), such as recovery times."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                terminalreporter.write_line(f"measured: {name}: {value}")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and Redis on free ports, started once. Tests that kill them start their own."""
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, die_with_parent=True, quick=True) as up:
        yield up


@pytest.fixture
def stack_settings(stack: Stack) -> Iterator[Settings]:
    """Settings of the dev profile on that stack, with fresh topics under their own prefix."""
    settings = settings_on(stack, f"test{next(_numbers)}")
    ensure_topics(settings)
    yield settings
    delete_topics(settings)


@pytest.fixture
def topics(stack_settings: Settings) -> Topics:
    """Names of the fresh topics."""
    return stack_settings.topics


def settings_on(stack: Stack, prefix: str, *, partitions: int = 4) -> Settings:
    """The dev profile pointed at a stack, under a topic prefix of its own."""
    settings = load_settings("dev")
    kafka = settings.kafka.model_copy(
        update={
            "bootstrap": stack.kafka,
            "topic_prefix": prefix,
            "group_id": f"{prefix}-moderation",
            "partitions": partitions,
        }
    )
    redis = settings.redis.model_copy(update={"url": stack.redis_url})
    return settings.model_copy(update={"kafka": kafka, "redis": redis})
