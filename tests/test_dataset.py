from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from schemas.categories import TEXT_CATEGORIES
from schemas.decision import Feedback
from schemas.errors import ConfigError, SluiceError
from schemas.settings import CONF
from scripts.cli import training_templates
from scripts.cli.build_dataset import app
from scripts.cli.dataset import build, config, feedback, partition
from scripts.cli.dataset.rows import SCHEMA, content_key, counts, made_of, table
from scripts.cli.training_data import Example
from tests.dataset_kit import examples, row, settings, texts

# --- configuration -----------------------------------------------------------------------


def test_the_shipped_configuration_is_read() -> None:
    wanted = config.load()
    assert {"jigsaw_natural", "templates", "feedback"} <= set(wanted.sources)
    assert set(wanted.augment.tricks) == set(config.TRICKS)
    for path in wanted.templates:
        assert training_templates.load(CONF / path).families
    assert len(config.load_identities().classes) > 10


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        ("  edos: {weight: 0}", 3, "sources.edos.weight: Input should be greater than 0"),
        ("  nowhere: {}", 3, "sources.nowhere: unknown set; there are: .*davidson"),
        ("  edos: {colour: 1}", 3, "sources.edos.colour: unknown field colour"),
        ("holdout: {subsets: [edos]}", 3, r"holdout.subsets.0: must read SET/SUBSET"),
        ("holdout: {newest_share: {edos: 2}}", 3, "less than or equal to 1"),
    ],
)
def test_mistakes_are_reported_with_file_and_line(
    change: str, line: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "dataset.yaml"
    sources = "sources:" if change.startswith("  ") else "sources: {edos: {}}"
    path.write_text(f"version: 1\n{sources}\n{change}\naugment: {{tricks: {{leet: 1}}}}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        config.load(path)
    assert (caught.value.file, caught.value.line) == (str(path), line)


def test_an_identity_stands_in_one_class(tmp_path: Path) -> None:
    path = tmp_path / "identities.yaml"
    path.write_text(
        "version: 1\nclasses:\n  - {name: a, words: [x, y]}\n  - name: b\n    words: [z, x]\n"
    )
    with pytest.raises(ConfigError, match=r"classes.1.words.1: stands in a too") as caught:
        config.load_identities(path)
    assert caught.value.line == 5


# --- feedback ----------------------------------------------------------------------------


def feedback_row(**changes: Any) -> Feedback:
    fields: dict[str, Any] = {
        "feedback_id": "f",
        "moderation_id": "m",
        "content_id": "c1",
        "source": "verdict",
        "category": "toxicity",
        "label": True,
        "weight": 1.0,
        "text": "some text",
        "language": "de",
        "scores": {},
        "features": {},
        "model_versions": {},
        "timestamp": dt.datetime(2026, 5, 1, tzinfo=dt.UTC),
    }
    return Feedback(**{**fields, **changes})


FEEDBACK = (
    feedback_row(),
    feedback_row(label=False, weight=0.4),
    feedback_row(category="threat", label=True),
    feedback_row(category="threat", label=False),
    feedback_row(category="nudity"),
    feedback_row(content_id="c2", text="another", label=False, source="appeal"),
    feedback_row(content_id="c3", source="sample", label=None),
    feedback_row(content_id="c4", text=None),
)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_feedback_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_bytes(b"\n".join(msgspec.json.encode(own) for own in FEEDBACK))
    else:
        plain = [{name: getattr(own, name) for name in feedback.NEEDED} for own in FEEDBACK]
        pq.write_table(pa.Table.from_pylist(plain), path)
    first, second = feedback.read(path, 2.0)
    # The threat votes tie; one that is weightier wins.
    assert (first.text, first.labels, first.weight) == ("some text", {"toxicity": 1}, 2.0)
    assert (first.language, first.time[:10]) == ("de", "2026-05-01")
    assert first.votes == {"threat": (1, 2), "toxicity": (1, 2)}
    assert (second.text, second.labels) == ("another", {"toxicity": 0})
    kept, _ = partition.rows_of([first, second], {}, settings().holdout)
    assert [own.content for own in kept] == [content_key("c1"), content_key("c2")]
    assert made_of(kept[0], "s0me text", "disguised", weight=0.5).content == content_key("c1")


def test_what_is_no_feedback_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(msgspec.json.encode(FEEDBACK[0]) + b"\n{}\n")
    with pytest.raises(ConfigError, match="is no feedback row") as caught:
        list(feedback.read(path, 1.0))
    assert caught.value.line == 2
    table_path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["x"]}), table_path)
    with pytest.raises(ConfigError, match="lacks content_id"):
        list(feedback.read(table_path, 1.0))
    with pytest.raises(ConfigError, match="cannot be read"):
        list(feedback.read(tmp_path / "absent.jsonl", 1.0))


# --- the whole way -----------------------------------------------------------------------


def test_presumed_labels_give_way_to_telling_words() -> None:
    example = Example("some porn", "irc_chat", {"spam": 1}, 2.0, presumed=("sexual", "threat"))
    labels, weights = partition.labelled(example, "some porn", {"sexual": ("porn",)})
    assert labels == (None, None, 0, None, None, 1)
    assert weights == (0, 0, 1.0, 0, 0, 2.0)


def test_related_texts_stand_in_one_split() -> None:
    found = examples()
    found += [
        Example(f"{example.text}!", "edos", example.labels, 1.0, link=f"pair{i}")
        for i, example in enumerate(found)
    ]
    found += [
        Example(f"quite another {i} thing {text}", "edos", {"toxicity": 1}, 1.0, link=f"pair{i}")
        for i, text in enumerate(texts(240, seed=6))
    ]
    rows, dropped = partition.rows_of(found, {}, settings().holdout)
    assert sum(dropped.values()) >= 200  # the same text but for a mark
    by_group: dict[int, set[str]] = {}
    for own in rows:
        by_group.setdefault(own.group, set()).add(own.split)
    assert all(len(splits) == 1 for splits in by_group.values())
    assert {own.split for own in rows} == {"train", "dev", "test"}
    assert not any(partition.leaks(rows).values())


def test_leaks_are_found() -> None:
    text = texts(1)[0]
    rows = [
        row(text, id=0, group=1, pattern="p"),
        row(f"{text}!", id=1, group=1, pattern="p", split="test"),
        row(text, id=2, group=2, split="dev"),
        row("made", id=3, parent=0, kind="copy", split="test"),
    ]
    leaks = partition.leaks(rows)
    assert leaks["same_text"] == leaks["same_group"] == leaks["same_pattern"] == 1
    assert leaks["near"] >= 2
    assert leaks["made_of_another_split"] == leaks["made_outside_train"] == 1


def test_a_leak_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "leaks", lambda _: {"same_text": 3, "near": 0})
    with pytest.raises(SluiceError, match=r"same_text 3$"):
        build.build(examples(), {}, settings(), config.load_identities())


def test_holdouts_by_origin_and_time() -> None:
    found = [
        Example(text, "hatemoji", {"toxicity": 0}, 1.0, subset="validation" if i < 40 else "train")
        for i, text in enumerate(texts(80))
    ]
    found += [Example(e.text, "edos", e.labels, 1.0, time=e.time) for e in examples(80)]
    holdout = settings(
        sources={"edos": {}, "hatemoji": {}},
        holdout={"subsets": ["hatemoji/validation"], "newest_share": {"edos": 0.25}},
    ).holdout
    rows, _ = partition.rows_of(found, {}, holdout)
    by_text = {own.text: own.split for own in rows}
    assert all(by_text.get(e.text, "test") == "test" for e in found if e.subset == "validation")
    newest = sorted((e.time, i) for i, e in enumerate(found) if e.time)[-20:]
    assert all(by_text.get(found[i].text, "test") == "test" for _, i in newest)
    assert {own.split for own in rows if own.source == "edos"} > {"test"}


def test_a_data_set_is_written_and_says_what_it_is(tmp_path: Path) -> None:
    wanted = settings(balance={"rare_share": 0.5, "most_copies": 1})
    built = build.build(examples(), {}, wanted, config.load_identities())
    manifest = build.write(built, tmp_path, wanted)
    data = (tmp_path / build.FILE).read_bytes()
    assert manifest["files"][build.FILE]["sha256"] == hashlib.sha256(data).hexdigest()
    assert msgspec.json.decode((tmp_path / build.MANIFEST).read_bytes()) == manifest
    read = pq.read_table(tmp_path / build.FILE)
    assert read.schema.equals(SCHEMA)
    assert read.num_rows == len(built.rows) == manifest["rows"]
    kinds = manifest["counts"]["by_kind"]
    assert set(kinds) == {"original", "copy", "disguised", "counterfactual"}
    # Unknown is null, and weighs nothing.
    assert read["label_spam"].null_count == read.num_rows
    assert set(read["weight_spam"].to_pylist()) == {0.0}
    made = [own for own in built.rows if own.kind != "original"]
    by_id = {own.id: own for own in built.rows}
    assert len(by_id) == len(built.rows)
    for own in made:
        origin = by_id[own.parent]
        assert (own.split, origin.kind, own.labels) == ("train", "original", origin.labels)
        assert own.text != origin.text
    card = (tmp_path / build.CARD).read_text("utf-8")
    assert "| edos |" in card
    assert f"{manifest['rows']} rows" in card


def test_the_same_seed_gives_the_same_rows() -> None:
    ids = config.load_identities()
    one, two = (table(build.build(examples(), {}, settings(), ids).rows) for _ in range(2))
    assert one.equals(two)
    other = table(build.build(examples(), {}, settings(seed=8), ids).rows)
    assert not one.equals(other)


def test_a_made_row_never_says_what_a_held_out_row_says() -> None:
    # Two patterns whose sentences differ by the identity alone are parted by their patterns.
    pairs = [
        Example(
            f"{group} liked {text}", "templates", {"toxicity": 0}, 1.0, pattern=f"{group} {number}"
        )
        for number, text in enumerate(texts(40))
        for group in ("men", "women")
    ]
    classes = {"version": 1, "classes": [{"name": "sex", "words": ["men", "women"]}]}
    swaps = config.Identities.model_validate(classes)
    built = build.build(pairs, {}, settings(), swaps)
    held_out = {row.text for row in built.rows if row.split != "train"}
    made = {row.text for row in built.rows if row.kind == "counterfactual"}
    assert built.facts["made_of_held_out_text"] > 0
    assert made
    assert not made & held_out


def test_counts() -> None:
    rows = [row(labels=(1, 0, None, None, None, None)), row(labels=(0, 0) + (None,) * 4)]
    assert counts(rows)["toxicity"] == {"yes": 1, "no": 1, "unknown": 0}
    assert counts(rows)["spam"] == {"yes": 0, "no": 0, "unknown": 2}
    assert list(counts(rows)) == list(TEXT_CATEGORIES)


def test_the_command_builds_from_templates_and_feedback(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    wanted = {
        "version": 1,
        "sources": {"templates": {}, "feedback": {}},
        "templates": ["training/functional_templates.yaml"],
        "template_fills": 2,
        "augment": {"tricks": {"misspelling": 1}},
    }
    path.write_text(yaml.safe_dump(wanted))
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"\n".join(msgspec.json.encode(own) for own in FEEDBACK))
    arguments = ["--config", str(path), "--feedback", str(rows), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--unchecked", "eight rows of a test"])
    assert done.exit_code == 0, done.output
    manifest = msgspec.json.decode((tmp_path / "out" / build.MANIFEST).read_bytes())
    excused = {"suite": "feedback", "unchecked": "eight rows of a test"}
    assert manifest["quality"] == {"rows.jsonl": excused}
    sources = set(pq.read_table(tmp_path / "out" / build.FILE)["source"].to_pylist())
    assert sources == {"templates", "feedback"}


def test_sets_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match=r"not under .*: edos"):
        build.examples_of(settings(), tmp_path, [])
    with pytest.raises(SluiceError, match="no labelled texts"):
        build.build([], {}, settings(), config.load_identities())
    absent = settings(sources={"edos": {}})
    with pytest.raises(ConfigError, match="sources does not name feedback"):
        build.examples_of(absent, None, [tmp_path / "rows.jsonl"])
