"""Training rows that were made of a user's contents, in the files of a data set."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scripts.cli.dataset.rows import content_key
from udfs.pii import KINDS, mask

_FEEDBACK: Final = "feedback"
"""Source of rows that are made of what the platform's users wrote."""


def erase_rows(folder: Path, contents: Collection[str], texts: Collection[str]) -> dict[str, int]:
    """Write the files of a folder anew without a user's rows; gives the rows removed, by file.

    Rows that name their content (`content_id`, in JSONL or Parquet) go by that. Those of a data
    set (`scripts/build_dataset`) name nobody: of those that come from feedback the ones go that
    have the key of one of the contents, or its masked text (an older set has no keys), with the
    copies that were made of them.

    Args:
        folder: searched with all below it.
        contents: ids of the user's contents.
        texts: what the user wrote.

    Raises:
        OSError: a file cannot be read or written.
    """
    removed = {}
    for path in sorted([*folder.rglob("*.parquet"), *folder.rglob("*.jsonl")]):
        gone = (
            _parquet(path, contents, texts) if path.suffix == ".parquet" else _lines(path, contents)
        )
        if gone:
            removed[str(path.relative_to(folder))] = gone
    return removed


def _parquet(path: Path, contents: Collection[str], texts: Collection[str]) -> int:
    rows = pq.read_table(path)
    names = set(rows.column_names)
    if "content_id" in names:
        going = pc.is_in(rows["content_id"], pa.array(sorted(contents), pa.string()))
    elif {"text", "source", "id", "parent"} <= names:
        masked = pa.array(sorted(_written(texts)), pa.string())
        going = pc.is_in(rows["text"], masked)
        if "content" in names:
            keys = pa.array(sorted(map(content_key, contents)), pa.string())
            going = pc.or_kleene(going, pc.is_in(rows["content"], keys))
        going = pc.and_(going, pc.equal(rows["source"], _FEEDBACK))
        while True:  # a copy of a copy
            ids = rows.filter(going)["id"]
            more = pc.or_(going, pc.is_in(rows["parent"], ids.combine_chunks()))
            if pc.sum(more).as_py() == pc.sum(going).as_py():
                break
            going = more
    else:
        return 0
    going = pc.fill_null(going, False)
    staying = rows.filter(pc.invert(going))
    if staying.num_rows != rows.num_rows:
        _replace(path, lambda partial: pq.write_table(staying, partial))
    return int(rows.num_rows - staying.num_rows)


def _written(texts: Collection[str]) -> set[str]:
    """The texts as rows may have them: names were not masked by earlier releases."""
    without_names = [kind for kind in KINDS if kind != "name"]
    return {*texts, *map(mask, texts), *(mask(text, kinds=without_names) for text in texts)}


def _lines(path: Path, contents: Collection[str]) -> int:
    kept, gone = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError:
            row = None
        if isinstance(row, dict) and row.get("content_id") in contents:
            gone += 1
        else:
            kept.append(line)
    if gone:
        _replace(path, lambda partial: partial.write_bytes(b"".join(kept)))
    return gone


def _replace(path: Path, write: object) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)  # type: ignore[operator]
    partial.replace(path)
