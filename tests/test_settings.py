"""Settings: the environment wins over the profile, and every setting is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from schemas.errors import ConfigError
from schemas.settings import ROOT, Settings, load_settings, unhurried


def test_the_environment_wins_over_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("kafka: {bootstrap: 'one:9092', partitions: 7}\n")
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP", "other:9092")
    kafka = load_settings(str(profile)).kafka
    assert (kafka.bootstrap, kafka.partitions) == ("other:9092", 7)


def test_null_in_the_environment_means_none_as_in_a_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings("dev").cascade.fast_text is not None
    monkeypatch.setenv("SLUICE_CASCADE__FAST_TEXT", "null")
    assert load_settings("dev").cascade.fast_text is None
    # Where nothing may be missing it is a mistake, not a server of that name.
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP", "null")
    with pytest.raises(ConfigError, match=r"kafka\.bootstrap: Input should be a valid string"):
        load_settings("dev")


def test_nothing_is_shed_where_nobody_waits() -> None:
    settings = Settings()
    assert settings.deep.budget_ms > 0
    deep = unhurried(settings).deep
    assert (deep.budget_ms, deep.late_after_ms, deep.busy_most) == (0, 0, 0)
    assert unhurried(settings).deep.low == settings.deep.low


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs/SETTINGS.md").read_text("utf-8")
    defaults = Settings()
    for section in Settings.model_fields:
        values = getattr(defaults, section)
        if not isinstance(values, BaseModel):
            continue
        for name, value in values:
            rows = re.findall(rf"^\| `{section}\.{name}` \| `([^`]*)` \|", text, re.MULTILINE)
            shown = {"": '""', "True": "true", "False": "false"}.get(str(value), str(value))
            assert rows == [shown], f"{section}.{name}"
