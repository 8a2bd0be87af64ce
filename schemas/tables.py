"""Analyst tables as data: what the records of a topic become, column by column.

A table reads one topic of JSON objects. A column is a field of that name, or SQL over fields
(`value`). What keeps a record from becoming a whole row (no JSON, no id, a number that is none)
is told by `Table.checks`; such records go to the table `unreadable`, with place and bytes.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Order = Literal["first", "latest"]


class Column(NamedTuple):
    """One column of a table."""

    name: str
    type: str
    """Flink SQL type."""
    comment: str
    """What it holds, with its unit."""
    value: str = ""
    """Flink SQL over the source's fields; empty: the field of this name."""
    needed: bool = False
    """Of a scalar that is a field: a record without it, or with another type of it, is no whole
    row. What is not needed and has a wrong type is NULL."""


class Table(NamedTuple):
    """One table and the records that it is made from."""

    name: str
    topic: str
    """Short name of the topic, a field of `schemas.topics.Topics`."""
    comment: str
    columns: tuple[Column, ...]
    """Without `dt` and the record's place, which every table has."""
    day: str
    """Flink SQL of a time that a replay does not change; its day (UTC) is the partition."""
    key: tuple[str, ...]
    """Primary key, besides `dt`."""
    fields: tuple[tuple[str, str], ...] = ()
    """Fields of the JSON that only `value` and `day` use: name and Flink SQL type."""
    times: tuple[tuple[str, bool], ...] = ()
    """Those of them that are times in RFC 3339 with whichever offset, and whether a record without
    it is no whole row. One with something else there is none."""
    where: str = "TRUE"
    """Flink SQL of the records that become rows, among those with a whole key."""
    order: Order = "first"
    """Which record of a key counts: the one that was written first, or the one with the highest
    `sequence`."""
    sequence: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    """Columns with ids of users whom the row is about."""
    contents: tuple[str, ...] = ("content_id",)
    """Columns with ids of contents that the row is about; their author is one of these users."""

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Columns as they are in the table, in order."""
        return (DAY, *self.columns, *PLACE)

    @property
    def json_fields(self) -> tuple[tuple[str, str], ...]:
        """Fields that are read from the JSON: name and Flink SQL type."""
        plain = tuple((column.name, column.type) for column in self.columns if not column.value)
        return (*plain, *self.fields)

    @property
    def checks(self) -> dict[str, str]:
        """By field: what an object with the field must match, as JSON without spaces.

        Each is the body of a regular expression's lookahead. Fields that can have any value (a
        string that may be missing, arrays, maps) are not there.
        """
        found = {}
        for column in self.columns:
            form = _FORMS.get(column.type)
            if column.value or form is None:
                continue
            if column.needed:
                found[column.name] = f'=.*[{{,]"{column.name}":{form}'
            elif column.type != "STRING":  # anything can be written as a string
                found[column.name] = f'!.*[{{,]"{column.name}":(?!{form}|null[,}}])'
        for name, kind in self.fields:
            if kind in _FORMS and kind != "STRING":
                found[name] = f'!.*[{{,]"{name}":(?!{_FORMS[kind]}|null[,}}])'
        for name, needed in self.times:
            if needed:
                found[name] = f'=.*[{{,]"{name}":{_RFC3339}'
            else:
                found[name] = f'!.*[{{,]"{name}":(?!{_RFC3339}|null[,}}])'
        return found


_FORMS: Final = {
    "STRING": r'"[^"]',
    "INT": r"-?\d{1,9}[,}]",
    "BIGINT": r"-?\d{1,18}[,}]",
    "DOUBLE": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?[,}]",
    "BOOLEAN": r"(?:true|false)[,}]",
    "TIMESTAMP_LTZ(6)": r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"[,}]',
}
"""How a value of a type begins, or is."""

_RFC3339: Final = (
    r'"\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)'
    r"|02-(?:0[1-9]|[12]\d))[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?"
    r'(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"[,}]'
)
"""A time that `rfc3339` can read, but for 29 February of a common year."""

DAY: Final = Column("dt", "STRING", "Day, UTC, yyyy-MM-dd; the partition.")
PLACE: Final = (
    Column("record_partition", "INT", "Partition of the record in its topic."),
    Column("record_offset", "BIGINT", "Offset of the record in its partition."),
    Column(
        "record_order",
        "BIGINT",
        "Minus record_offset: of the rows of one id the highest stays, the one written first.",
        "-record_offset",
    ),
)

UNREADABLE: Final = Table(
    "unreadable",
    "",
    "Records that became no row, or not a whole one: what they were, and where.",
    (
        Column("topic", "STRING", "Topic of the record.", "`topic`"),
        Column("written_at", "TIMESTAMP(3)", "Broker time of the record, UTC.", "written_at"),
        Column("record_key", "BYTES", "Key of the record as it is.", "k"),
        Column("record_value", "BYTES", "Value of the record as it is.", "v"),
    ),
    day="written_at",
    key=("topic", "record_partition", "record_offset"),
    contents=(),
)
"""Made from every topic that another table reads."""


def utc(field: str) -> str:
    """SQL of a field of type TIMESTAMP_LTZ as a TIMESTAMP in UTC, the session's time zone."""
    return f"CAST(`{field}` AS TIMESTAMP(6))"


def from_ms(field: str) -> str:
    """SQL of a field in ms since the epoch as a TIMESTAMP in UTC."""
    return f"CAST(TO_TIMESTAMP_LTZ(`{field}`, 3) AS TIMESTAMP(3))"


def rfc3339(field: str) -> str:
    """SQL of a string in RFC 3339, with whichever offset, as a TIMESTAMP in UTC; else NULL."""
    local = rf"REGEXP_EXTRACT(`{field}`, '^[^Zz+]{{19,29}}?(?=[Zz]|[+-]\d\d:\d\d$)')"
    local = f"REPLACE(UPPER({local}), 'T', ' ')"
    offset = rf"REGEXP_EXTRACT(`{field}`, '([+-]\d\d:\d\d)$', 1)"
    minutes = (
        f"COALESCE(CAST(SUBSTRING({offset}, 1, 1) || '1' AS INT)"
        f" * (CAST(SUBSTRING({offset}, 2, 2) AS INT) * 60"
        f" + CAST(SUBSTRING({offset}, 5, 2) AS INT)), 0)"
    )
    return f"TIMESTAMPADD(MINUTE, -({minutes}), TRY_CAST({local} AS TIMESTAMP(6)))"


def in_object(field: str, path: str) -> str:
    """SQL of a string inside a field that holds a JSON object as text; NULL where there is none."""
    return f"JSON_VALUE(`{field}`, '$.{path}' NULL ON EMPTY NULL ON ERROR)"
