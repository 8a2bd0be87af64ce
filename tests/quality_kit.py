"""Good rows and rows with planted faults for `test_quality`, and how many of each are planted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from schemas.categories import TEXT_CATEGORIES
from schemas.settings import ROOT
from scripts.cli.dataset.rows import Row, table

Rows = list[dict[str, Any]]
PLACES = ("harbour", "market", "library", "station", "garden", "museum", "bakery", "stadium")
THINGS = ("boat", "ticket", "book", "train", "tree", "painting", "loaf", "match", "bench", "lamp")
GERMAN = "Der Zug hatte eine Stunde Verspätung, und wir haben den Anschluss verpasst"
DRIVER = """
import json, sys, io, contextlib
from scripts.cli.quality import command
for line in sys.stdin:
    sys.argv = ["quality", *json.loads(line)]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            command.main()
        except SystemExit as leave:
            status = leave.code
    print(json.dumps([status, said.getvalue()]))
"""
"""Runs the command several times in one process: Great Expectations is imported once."""


def driven(commands: Sequence[Sequence[str]], **environment: str) -> list[tuple[Any, str]]:
    """Run `scripts/quality` with these arguments, in order; exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=ROOT, input="\n".join(map(json.dumps, commands)), capture_output=True, text=True,
        check=False, timeout=200, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [(status, said) for status, said in map(json.loads, done.stdout.splitlines())]


def sentence(number: int) -> str:
    place, thing = PLACES[number % 8], THINGS[number // 8 % 10]
    return f"We met at the {place} and somebody had left a {thing} there, number {number}."


def uploads() -> Rows:
    return [
        {
            "content_id": f"c-{i}",
            "content_type": "text",
            "user_id": f"u-{i % 20}",
            "created_at": f"2026-03-0{1 + i % 9}T10:00:00Z",
            "text": sentence(i),
            "language": "en",
            "is_public": True,
            "priority": i % 4,
        }
        for i in range(200)
    ]


def bad_uploads() -> list[dict[str, Any] | str]:
    rows: list[dict[str, Any] | str] = [*uploads()]

    def change(first: int, last: int, **fields: Any) -> None:
        for i in range(first, last):
            old = rows[i]
            assert isinstance(old, dict)
            rows[i] = {**old, **fields}

    change(0, 2, content_type="audio")
    change(2, 5, user_id=None)
    change(5, 6, text="x" * 50_001)
    change(6, 8, priority=12)
    change(8, 9, priority="high")
    change(9, 10, created_at="2024-03-01T10:00:00Z")
    change(10, 14, content_id="c-10")
    change(20, 70, text="...")
    change(70, 199, text=GERMAN, is_public=False)
    rows[199] = "{not json"
    return rows


UPLOAD_FAULTS = {
    # 2 types, 3 users, 1 long text, 3 priorities, 1 line.
    "columns.is_valid.values": 10,
    "columns.content_id.given": 1,
    "columns.content_type.given": 1,
    "columns.content_type.values": 2,
    "columns.user_id.given": 4,
    "columns.created_at.given": 1,
    "columns.text.length": 1,
    "columns.priority.range": 3,
    "columns.of_age_days.range": 1,
    "columns.of_copies.range": 4,
    "shares.empty_texts": 0,
    "shares.english": 0,
    "shares.declared_right": 0,
    "shares.private": 0,
}


def training() -> list[Row]:
    rows = []
    for i in range(400):
        labels = tuple(
            None if (i + j) % 7 == 0 else int((i // 10 + 3 * j) % 10 == 0)
            for j in range(len(TEXT_CATEGORIES))
        )
        rows.append(
            Row(
                id=i,
                text=sentence(i),
                source="made",
                language="en",
                split="train" if i % 10 < 7 else "dev" if i % 10 < 8 else "test",
                labels=labels,
                weights=tuple(0.0 if label is None else 1.0 for label in labels),
                group=i,
            )
        )
    return rows


def bad_training() -> pa.Table:
    rows = training()
    by_split = {
        name: [row for row in rows if row.split == name] for name in ("train", "dev", "test")
    }
    train, test = by_split["train"], by_split["test"]
    # The same text, dressed up, in train and test: two rows each.
    train[0].text = f"  {test[0].text.upper()} "
    train[0].labels, train[0].weights = test[0].labels, test[0].weights
    # A group in two splits: two rows.
    train[1].group = test[1].group
    train[2].parent, train[2].kind = test[2].id, "disguised"
    test[3].kind = "copy"
    train[3].text += " __label__toxic"
    train[4].text += " spam=1"
    train[5].text, train[6].text = "one text twice", "one text twice"
    train[5].labels, train[6].labels = (1, *[None] * 5), (0, *[None] * 5)
    train[5].weights = train[6].weights = (1.0, *[0.0] * 5)
    train[7].weights = (1.0,) * 6
    train[7].labels = (None, 0, 0, 0, 0, 0)
    train[8].labels = (7, 0, 0, 0, 0, 0)
    train[8].weights = (1.0,) * 6
    train[9].agreement = 0.1
    for row in rows:
        # No training row threatens any more, and nobody knows English.
        row.labels = (*row.labels[:2], 0, *row.labels[3:])
        row.weights = (*row.weights[:2], 1.0, *row.weights[3:])
        row.language = "pt"
    train[10].id = train[11].id
    made = table(rows)
    return made.append_column("score_toxicity", pa.array([0.5] * len(rows)))


TRAINING_FAULTS = {
    "more_columns": 0,
    "columns.id.unique": 2,
    "columns.agreement.range": 1,
    "columns.label_toxicity.values": 1,
    "columns.is_weight_as_label.values": 1,
    "columns.of_text_splits.range": 2,
    "columns.of_group_splits.range": 2,
    "columns.is_parent_elsewhere.values": 1,
    "columns.is_label_in_text.values": 2,
    "columns.is_held_out_made.values": 1,
    "shares.threat": 0,
    "shares.english": 0,
    "shares.declared_right": 0,
}


def feedback() -> Rows:
    return [
        {
            "feedback_id": f"f-{i}",
            "moderation_id": f"m-{i}",
            "content_id": f"c-{i}",
            "source": ("verdict", "verdict", "rule", "sample")[i % 4],
            "category": "toxicity",
            "label": None if i % 4 == 3 else i % 4 == 2 or i % 3 == 0,
            "weight": 1.0,
            "text": sentence(i),
            "language": "en",
            "scores": {"toxicity": 0.3, "spam": 0.1},
            "features": {"uploads_1m": 1.0},
            "model_versions": {"fast_text": "1"},
            "timestamp": "2026-03-01T10:00:00Z",
        }
        for i in range(100)
    ]


def bad_feedback() -> Rows:
    rows = feedback()
    rows[0]["label"] = None  # a verdict without a label
    rows[3]["label"] = True  # a sample with one
    rows[4]["weight"] = 2
    rows[5]["feedback_id"] = "f-6"  # one id for two rows, and below a row five times
    rows += [rows[10]] * 4
    rows[7]["scores"] = {"toxicity": 1.5, "spam": 0.1}
    rows[8]["scores"] = {"toxicity": -0.5, "spam": 0.1}
    for i, j in ((9, 12), (13, 16)):
        rows[j].update(content_id=rows[i]["content_id"], label=not rows[i]["label"])
    for i in (20, 21, 22):
        rows[i]["scores"] = {"toxicity": float(rows[i]["label"])}
    rows[24]["text"] += " toxicity: true"
    rows[25]["category"] = 7
    for row in (*rows[17:20], *rows[26:]):
        row.update(source="rule", label=True)
    return rows


FEEDBACK_FAULTS = {
    "columns.is_valid.values": 1,
    "columns.feedback_id.unique": 7,
    "columns.is_id_reused.values": 2,
    "columns.weight.range": 1,
    "columns.of_lowest_score.range": 1,
    "columns.of_highest_score.range": 1,
    "columns.is_label_as_source.values": 2,
    "columns.is_contradicted.values": 4,
    "columns.is_score_the_label.values": 3,
    "columns.is_label_in_text.values": 1,
    "shares.own_labels": 0,
}
