"""Flink's SQL types as DuckDB writes them."""

from __future__ import annotations

import re
from typing import Final

_SCALARS: Final = {
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "BOOLEAN": "BOOLEAN",
    "INT": "INTEGER",
    "BIGINT": "BIGINT",
    "DOUBLE": "DOUBLE",
}


def duckdb_type(flink: str) -> str:
    """The DuckDB type of a column.

    Args:
        flink: such as `ARRAY<ROW<id STRING, spans ARRAY<INT>>>`.

    Raises:
        ValueError: a type that the tables do not use.
    """
    flink = flink.strip()
    if flink in _SCALARS:
        return _SCALARS[flink]
    if re.fullmatch(r"TIMESTAMP\(\d\)", flink):
        return "TIMESTAMP"
    outer = re.fullmatch(r"(ARRAY|MAP|ROW)<(.*)>", flink)
    if outer is None:
        raise ValueError(f"no DuckDB type for {flink}")
    parts = _parts(outer.group(2))
    if outer.group(1) == "ARRAY":
        return f"{duckdb_type(parts[0])}[]"
    if outer.group(1) == "MAP":
        return f"MAP({duckdb_type(parts[0])}, {duckdb_type(parts[1])})"
    fields = [part.strip().replace("`", "").partition(" ") for part in parts]
    return "STRUCT(" + ", ".join(f'"{name}" {duckdb_type(kind)}' for name, _, kind in fields) + ")"


def _parts(text: str) -> list[str]:
    """What stands between the commas of the outermost level."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "<") - (sign == ">")
        if sign == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
