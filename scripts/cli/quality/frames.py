"""Closed files as one table, with derived columns that say what no single value can.

Columns that begin with `is_` hold 1 or 0, those with `of_` a number or a code; both are empty
where a row does not have the thing. Of every reader: `is_blank` (a text without a letter or
digit), `of_language` (as `udfs.language` finds it, without asking what was declared), `is_told`
(whether it can tell), `is_declared_right`.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pandas as pd
import pyarrow.parquet as pq

from schemas.categories import TEXT_CATEGORIES
from schemas.decision import Feedback
from schemas.errors import ConfigError, InvalidUploadError
from schemas.upload import decode_upload
from scripts.cli.quality.config import Reader
from udfs.language import LanguageGuesser
from udfs.language_tables import UNDETERMINED, primary
from udfs.normalise import normalise

Row = dict[str, Any]
_MARKER: Final = re.compile(
    r"__label__|\blabel\s*[=:]\s*(?:0|1|true|false)\b|\b(?:"
    + "|".join(TEXT_CATEGORIES)
    + r")\s*[=:]\s*(?:0|1|true|false)\b",
    re.IGNORECASE,
)
"""How exports write a label into the text itself."""
_JUDGED: Final = frozenset({"bank", "rule", "verdict", "appeal"})
_BATCH: Final = 256
_CLOSED: Final = frozenset({".parquet", ".jsonl"})
_DAY_S: Final = 86_400.0


class Table(NamedTuple):
    """All rows of all files."""

    frame: pd.DataFrame
    places: list[str]
    """FILE:ROW of each, rows counted from 1 as lines are."""
    derived: frozenset[str]
    """Columns that no file has."""


def closed_files(paths: Sequence[Path]) -> list[Path]:
    """The files that paths stand for: a folder stands for its Parquet and JSONL files, in order.

    Files that begin with `.` or `_` are still being written, by the custom of Flink and Hadoop.

    Raises:
        ConfigError: a folder holds none.
    """
    out: list[Path] = []
    for path in paths:
        if not path.is_dir():
            out.append(path)
            continue
        found = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix in _CLOSED
            and not any(part[0] in "._" for part in file.relative_to(path).parts)
        ]
        if not found:
            raise ConfigError("holds no closed Parquet or JSONL file", file=str(path))
        out += found
    return out


def read(files: Sequence[Path], reader: Reader) -> Table:
    """Read Parquet and JSONL files and add the reader's derived columns.

    A line that is no JSON object becomes a row without values.

    Args:
        files: `.parquet` is read as Parquet, anything else as JSON lines.
        reader: what the rows are.

    Raises:
        ConfigError: a file cannot be read.
    """
    rows: list[Row] = []
    places: list[str] = []
    for path in files:
        for number, row in enumerate(_rows(path), start=1):
            rows.append(row)
            places.append(f"{path.name}:{number}")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    derived = _DERIVE[reader](rows)
    derived.update(_languages(rows))
    data = {name: [_plain(row.get(name)) for row in rows] for name in columns}
    frame = pd.DataFrame({**data, **derived}, dtype=object)
    return Table(frame, places, frozenset(derived))


def _rows(path: Path) -> Iterable[Row]:
    if path.suffix == ".parquet":
        try:
            file = pq.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot be read as Parquet: {error}", file=str(path)) from None
        for batch in file.iter_batches():
            yield from batch.to_pylist()
        return
    try:
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield _object(line)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None


def _object(line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _plain(value: Any) -> Any:
    """Something that can be compared and counted: structures as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, default=str)
    return value


def _uploads(rows: Sequence[Row]) -> dict[str, list[Any]]:
    valid: list[int] = []
    times: list[float | None] = []
    for row in rows:
        try:
            upload = decode_upload(msgspec.json.encode(row))
        except InvalidUploadError:
            valid.append(0)
            times.append(None)
        else:
            valid.append(1)
            times.append(upload.created_at.timestamp())
    newest = max((time for time in times if time is not None), default=0.0)
    keys = [(_plain(row.get("content_id")), _plain(row.get("revision"))) for row in rows]
    copies = Counter(keys)
    return {
        "is_valid": valid,
        "of_age_days": [None if t is None else (newest - t) / _DAY_S for t in times],
        # Public is what is said of no upload that is.
        "is_private": [int(row.get("is_public") is False) for row in rows],
        "of_copies": [copies[key] if key[0] is not None else None for key in keys],
        "of_length": [
            len(row.get("text") or "") if row.get("content_type") == "text" else None
            for row in rows
        ],
    }


def _feedback(rows: Sequence[Row]) -> dict[str, list[Any]]:
    said: dict[tuple[Any, ...], set[bool]] = defaultdict(set)
    for row in rows:
        if isinstance(row.get("label"), bool):
            said[_about(row)].add(row["label"])
    scores = [_numbers(row.get("scores")) for row in rows]
    by_id: dict[Any, set[Any]] = defaultdict(set)
    for row in rows:
        by_id[_plain(row.get("feedback_id"))].add((*_about(row), row.get("label")))
    return {
        "is_valid": [int(_decodes(row)) for row in rows],
        "is_id_reused": [int(len(by_id[_plain(row.get("feedback_id"))]) > 1) for row in rows],
        "of_lowest_score": [min(own.values()) if own else None for own in scores],
        "of_highest_score": [max(own.values()) if own else None for own in scores],
        "of_versions": [len(row.get("model_versions") or ()) for row in rows],
        "is_label_as_source": [_fits(row) for row in rows],
        "is_contradicted": [int(len(said.get(_about(row), ())) > 1) for row in rows],
        "is_score_the_label": [
            int(own.get(_plain(row.get("category")), 0.5) == float(row["label"]))
            if isinstance(row.get("label"), bool)
            else None
            for row, own in zip(rows, scores, strict=True)
        ],
        "is_label_in_text": _marked(rows),
    }


def _about(row: Row) -> tuple[Any, ...]:
    return tuple(_plain(row.get(name)) for name in ("content_id", "category", "source"))


def _numbers(scores: Any) -> dict[Any, float]:
    pairs = scores.items() if isinstance(scores, dict) else scores or ()
    try:
        return {name: float(value) for name, value in pairs if value is not None}
    except (TypeError, ValueError):
        return {"": float("nan")}


def _decodes(row: Row) -> bool:
    # Maps of a Parquet file come as lists of pairs.
    made = {
        name: dict(value) if name in {"scores", "features", "model_versions"} and value else value
        for name, value in row.items()
    }
    try:
        msgspec.convert(made, Feedback, strict=False)
    except (msgspec.ValidationError, TypeError, ValueError):
        return False
    return True


def _fits(row: Row) -> int | None:
    source, label = row.get("source"), row.get("label")
    if source == "sample":
        return int(label is None)
    return int(label is not None) if source in _JUDGED else None


def _training(rows: Sequence[Row]) -> dict[str, list[Any]]:
    texts = [_canonical(row.get("text")) for row in rows]
    split_of = {row.get("id"): row.get("split") for row in rows}
    by_text = _splits(rows, texts)
    groups = [row.get("group") if row.get("group") not in {None, -1} else None for row in rows]
    by_group = _splits(rows, groups)
    labels = [[row.get(f"label_{category}") for category in TEXT_CATEGORIES] for row in rows]
    weights = [[row.get(f"weight_{category}") for category in TEXT_CATEGORIES] for row in rows]
    said: dict[tuple[str, int], set[Any]] = defaultdict(set)
    for row, text, own in zip(rows, texts, labels, strict=True):
        if row.get("kind") == "original" and text:
            for i, label in enumerate(own):
                if label is not None:
                    said[text, i].add(label)
    return {
        "is_weight_as_label": [
            int(all(map(_weighs_as_known, own, weighed)))
            for own, weighed in zip(labels, weights, strict=True)
        ],
        "of_labels": [sum(label is not None for label in own) for own in labels],
        "of_text_splits": [len(by_text[text]) if text else None for text in texts],
        "of_group_splits": [len(by_group[g]) if g is not None else None for g in groups],
        "is_parent_elsewhere": [
            int(split_of.get(row["parent"], row.get("split")) != row.get("split"))
            if row.get("parent") not in {None, -1}
            else None
            for row in rows
        ],
        "is_label_in_text": _marked(rows),
        "is_contradicted": [
            int(any(len(said[text, i]) > 1 for i in range(len(TEXT_CATEGORIES)))) if text else None
            for text in texts
        ],
        "is_held_out_made": [
            int(row.get("kind") != "original") if row.get("split") in {"dev", "test"} else None
            for row in rows
        ],
    }


def _weighs_as_known(label: Any, weight: Any) -> bool:
    return not weight if label is None else bool(weight and weight > 0)


def _splits(rows: Sequence[Row], keys: Sequence[Any]) -> dict[Any, set[Any]]:
    out: dict[Any, set[Any]] = defaultdict(set)
    for row, key in zip(rows, keys, strict=True):
        out[key].add(row.get("split"))
    return out


def _marked(rows: Sequence[Row]) -> list[int | None]:
    texts = (row.get("text") for row in rows)
    return [int(bool(_MARKER.search(t))) if isinstance(t, str) else None for t in texts]


def _canonical(text: Any) -> str:
    return normalise(text).text if isinstance(text, str) else ""


@functools.cache
def _guesser() -> LanguageGuesser:
    """One for the process: it takes a second to load."""
    return LanguageGuesser()


def _languages(rows: Sequence[Row]) -> dict[str, list[Any]]:
    guesser = _guesser()
    texts = [_canonical(row.get("text")) for row in rows]
    codes: list[str] = []
    for first in range(0, len(texts), _BATCH):
        part = texts[first : first + _BATCH]
        codes += [guess.code for guess in guesser.guess(part, [None] * len(part))]
    declared = [
        primary(row["language"]) if isinstance(row.get("language"), str) else UNDETERMINED
        for row in rows
    ]
    there = [isinstance(row.get("text"), str) for row in rows]
    return {
        "is_blank": [
            int(not any(map(str.isalnum, text))) if known else None
            for text, known in zip(texts, there, strict=True)
        ],
        "of_language": [code if code != UNDETERMINED else None for code in codes],
        "is_told": [
            int(code != UNDETERMINED) if known else None
            for code, known in zip(codes, there, strict=True)
        ],
        "is_declared_right": [
            int(code == said) if UNDETERMINED not in {code, said} else None
            for code, said in zip(codes, declared, strict=True)
        ],
    }


_DERIVE: Final[dict[Reader, Callable[[Sequence[Row]], dict[str, list[Any]]]]] = {
    "upload": _uploads,
    "feedback": _feedback,
    "training": _training,
}
