"""The list of erased users, beside the tables: hashes of their ids, and when.

A job that starts without its checkpoint reads the topics from their beginning, where an erased
user's records lie until they expire; this list keeps them out. It tells who was erased only to
somebody who has the id already.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import fsspec
import msgspec

from operators.table_sql import Erased
from schemas.user_events import user_sha256

__all__ = ["add_erasure", "read_erasures", "user_sha256"]

_FILE: Final = "erasures.jsonl"
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Erased)


def read_erasures(warehouse: str) -> list[Erased]:
    """Every erasure, oldest first; none where nobody was erased.

    Args:
        warehouse: URI of the tables' folder.
    """
    system, path = fsspec.core.url_to_fs(f"{warehouse}/{_FILE}")
    if not system.exists(path):
        return []
    return _decoder.decode_lines(system.cat_file(path))


def add_erasure(warehouse: str, user_id: str, at: dt.datetime) -> None:
    """Remember that a user was erased; the newest time counts."""
    entry = Erased(user_sha256(user_id), at)
    kept = [one for one in read_erasures(warehouse) if one.user_sha256 != entry.user_sha256]
    system, path = fsspec.core.url_to_fs(f"{warehouse}/{_FILE}")
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.pipe_file(path, _encoder.encode_lines([*kept, entry]))
