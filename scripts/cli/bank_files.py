"""Lists of hashes as teams trade them: CSV, JSON, ThreatExchange, HMA, NCMEC, vPDQ.

Every reader goes through a file row by row and says of each what it is, or what is wrong with it
and in which line; nothing stops at a wrong row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TextIO, get_args

from schemas.media_banks import KINDS, EntryStatus, HashKind

Format = Literal["csv", "json", "threatexchange", "hma", "ncmec", "vpdq"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

TE_TYPES: Final[dict[HashKind, tuple[str, ...]]] = {
    "pdq": ("HASH_PDQ",),
    "md5": ("HASH_MD5", "HASH_VIDEO_MD5"),
    "sha256": ("HASH_SHA256",),
}
"""Indicator types of ThreatExchange; the first is what is written."""
SIGNALS: Final[dict[HashKind, tuple[str, ...]]] = {
    "pdq": ("pdq",),
    "md5": ("video_md5", "photo_md5", "md5"),
    "sha256": ("sha256",),
    "phash64": ("phash64", "phash"),
    "phash256": ("phash256",),
    "video_pdq": ("vpdq", "video_pdq"),
}
"""Signal types of HMA, and columns of lists with one column for each kind of hash."""
_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)
_ARRAY: Final = re.compile(r'"(?:data|entries|updates|content|signals|media_md5s)"\s*:\s*\[')
_TRUE: Final = frozenset({"1", "true", "yes", "deleted", "removed", "withdrawn"})


class Row(NamedTuple):
    """One entry of a file, or a mistake in its place."""

    line: int
    """1-based line where it begins."""
    id: str = ""
    hash: str = ""
    """Lower-case hex; empty where the row has none of the wanted kind."""
    quality: int = 100
    status: EntryStatus = "confirmed"
    deleted: bool = False
    """The list says that the entry is no more."""
    fault: str = ""
    """What is wrong; empty where nothing is."""


class WrongError(ValueError):
    """A mistake in one row."""


def tell_format(name: str, text: str) -> Format:
    """What a file is, by its name and beginning."""
    start = text.lstrip("\ufeff \t\r\n")
    if start[:1] in {"{", "["}:
        head = start[:4000]
        if '"raw_indicator"' in head or '"indicator"' in head:
            return "threatexchange"
        if '"signals"' in head or '"bank_content_id"' in head:
            return "hma"
        return "vpdq" if '"frame_number"' in head else "json"
    first = start.partition("\n")[0].lower()
    if re.match(r"\d+,\d+,[0-9a-f]{64},[\d.]+\s*$", first):
        return "vpdq"
    columns = {column.strip().strip('"') for column in first.split(",")}
    if "hash" in columns or name.endswith(".tsv"):
        return "csv"
    return "ncmec" if columns & {"md5", "sha1", "pdna", "photodna", "fingerprints"} else "csv"


def read_rows(text: str, kind: HashKind, form: Format, stem: str) -> Iterator[Row]:
    """Go through a file.

    Args:
        text: the file's.
        kind: which hashes are wanted; rows with others only have no hash.
        form: its format.
        stem: name of the entry where a file is one (vPDQ).
    """
    text = text.removeprefix("\ufeff")
    pairs: Iterable[tuple[int, Any]]
    reader: Callable[[Any], Row]
    if form in {"csv", "ncmec"}:
        pairs, reader = _csv_rows(text), lambda row: _flat(row, kind)
    elif form == "vpdq" and not text.lstrip().startswith(("[", "{")):
        pairs, reader = _csv_rows(f"frame,quality,hash,timestamp\n{text}", -1), _vpdq(stem)
    elif form == "vpdq":
        pairs, reader = _objects(text), _vpdq(stem)
    elif form == "threatexchange":
        pairs, reader = _objects(text), lambda row: _threatexchange(row, kind)
    elif form == "hma":
        pairs, reader = _objects(text), lambda row: _hma(row, kind)
    else:
        pairs, reader = _objects(text), lambda row: _flat(row, kind)
    digits = KINDS[kind].bits // 4
    for line, raw in pairs:
        if isinstance(raw, WrongError):
            yield Row(line, fault=str(raw))
            continue
        try:
            row = reader(raw)._replace(line=line)
            yield row if not row.hash or row.deleted else _checked(row, digits)
        except WrongError as wrong:
            yield Row(line, fault=str(wrong))


def write_rows(out: TextIO, rows: Iterable[Row], kind: HashKind, form: Format) -> int:
    """Write entries; gives how many.

    Raises:
        WrongError: the format has no place for this kind of hash.
    """
    count = 0
    if form in {"csv", "ncmec"}:
        writer = csv.writer(out, lineterminator="\n")
        column = "hash" if form == "csv" else SIGNALS[kind][-1]
        writer.writerow(["id", column, "status"])
        for count, row in enumerate(rows, 1):  # noqa: B007 - the last one is the count
            writer.writerow([row.id, row.hash, row.status])
        return count
    if form == "vpdq" or (form == "threatexchange" and kind not in TE_TYPES):
        raise WrongError(f"{form} has no place for {kind} hashes of several entries")
    out.write('{"data": [' if form == "threatexchange" else "[")
    for count, row in enumerate(rows, 1):
        out.write(",\n" if count > 1 else "\n")
        out.write(json.dumps(_object(row, kind, form)))
    out.write("\n]}\n" if form == "threatexchange" else "\n]\n")
    return count


def _object(row: Row, kind: HashKind, form: Format) -> dict[str, Any]:
    if form == "threatexchange":
        status = "MALICIOUS" if row.status == "confirmed" else "UNKNOWN"
        kind_name = TE_TYPES[kind][0]
        return {"id": row.id, "raw_indicator": row.hash, "type": kind_name, "status": status}
    if form == "hma":
        return {"id": row.id, "signals": {SIGNALS[kind][0]: row.hash}, "status": row.status}
    return {"id": row.id, "hash": row.hash, "status": row.status}


# --- rows of each format ---------------------------------------------------------------------


def _flat(row: Any, kind: HashKind) -> Row:
    """A row with a `hash`, or with a column for each kind; NCMEC's has `fingerprints`."""
    if not isinstance(row, dict):
        raise WrongError("is not an entry")
    given = _text(row, "kind", "signal_type").lower()
    prints = row.get("fingerprints")
    fields = {**row, **prints} if isinstance(prints, dict) else row
    wanted = given in {"", kind, *SIGNALS[kind]}
    digest = (_text(fields, "hash", "value") if wanted else "") or _text(fields, *SIGNALS[kind])
    if not digest and wanted and "hash" in fields:
        raise WrongError("hash: is missing")
    ident = _text(row, "id", "entry", "bank_content_id") or (digest and f"{kind}:{digest[:16]}")
    marks = ("deleted", "should_delete", "status")
    deleted = any(_text(row, mark).lower() in _TRUE for mark in marks)
    return Row(0, ident, digest, _quality(row), _status(_text(row, "status")), deleted)


def _threatexchange(row: Any, kind: HashKind) -> Row:
    """A threat descriptor, or a threat update with its descriptors."""
    if not isinstance(row, dict):
        raise WrongError("is not a descriptor")
    indicator = row.get("indicator")
    inner = indicator if isinstance(indicator, dict) else {}
    type_ = _text(row, "type") or _text(inner, "type")
    digest = _text(row, "raw_indicator") or _text(inner, "indicator")
    if not digest and isinstance(indicator, str):
        digest = indicator
    if not type_ or not digest:
        raise WrongError("has no type or no raw_indicator")
    if type_.upper() not in TE_TYPES.get(kind, ()):
        digest = ""
    within = row.get("descriptors")
    descriptors = within.get("data") if isinstance(within, dict) else None
    opinions = [each for each in descriptors or [row] if isinstance(each, dict)]
    status: EntryStatus = "confirmed"
    if any(_doubted(opinion) for opinion in opinions):
        status = "disputed"
    return Row(0, _text(row, "id"), digest, 100, status, bool(row.get("should_delete")))


def _doubted(opinion: Mapping[str, Any]) -> bool:
    """Whether one owner says that it is harmless or unknown, or others disagree."""
    if _text(opinion, "status").upper() in {"NON_MALICIOUS", "UNKNOWN"}:
        return True
    said = [*(opinion.get("my_reactions") or ()), *(opinion.get("reactions") or ())]
    return "DISAGREE_WITH_TAGS" in json.dumps(said)


def _hma(row: Any, kind: HashKind) -> Row:
    """A bank's content with its signals: a mapping, or a list of type and value."""
    signals = row.get("signals") if isinstance(row, dict) else None
    if isinstance(signals, list):
        signals = {
            _text(each, "signal_type", "type"): _text(each, "signal_value", "signal", "value")
            for each in signals
            if isinstance(each, dict)
        }
    if not isinstance(signals, dict):
        raise WrongError("has no signals")
    digest = _text(signals, *SIGNALS[kind])
    ident = _text(row, "id", "bank_content_id", "content_id")
    return Row(0, ident, digest, _quality(row), _status(_text(row, "status")))


def _vpdq(stem: str) -> Callable[[Any], Row]:
    """One frame of the video that the file is about."""

    def read(row: Any) -> Row:
        if not isinstance(row, dict):
            raise WrongError("is not a frame")
        return Row(0, _text(row, "id") or stem, _text(row, "hash", "hex"), _quality(row))

    return read


def _checked(row: Row, digits: int) -> Row:
    digest = row.hash.lower()
    if len(digest) != digits or not _HEX.fullmatch(digest):
        raise WrongError(f"hash: must be {digits} hex digits")
    if not 1 <= len(row.id) <= 128:
        raise WrongError("id: must have 1 to 128 characters")
    return row._replace(hash=digest)


def _text(row: Any, *names: str) -> str:
    """The first of some fields that is there, as text."""
    for name in names:
        value = row.get(name) if isinstance(row, dict) else None
        if isinstance(value, str | int) and str(value).strip():
            return str(value).strip()
    return ""


def _quality(row: Mapping[str, Any]) -> int:
    raw = _text(row, "quality")
    if not raw:
        return 100
    if not raw.isascii() or not raw.isdigit() or int(raw) > 100:
        raise WrongError("quality: must be a whole number from 0 to 100")
    return int(raw)


def _status(raw: str) -> EntryStatus:
    known = raw.lower()
    if known in {"", "confirmed", "active", "malicious", *_TRUE}:
        return "confirmed"
    if known in {"disputed", "unknown", "non_malicious", "suspicious"}:
        return "disputed"
    raise WrongError("status: must be confirmed, disputed or withdrawn")


# --- rows of a file and their lines ------------------------------------------------------------


def _csv_rows(text: str, before: int = 0) -> Iterator[tuple[int, Any]]:
    """Rows of a CSV file as mappings by lower-case column, with their lines."""
    header: list[str] | None = None
    # Line by line: a stray quotation mark costs its own line, not the rest of the file.
    for number, line in enumerate(io.StringIO(text), 1 + before):
        try:
            row = next(csv.reader([line], strict=True), None)
        except csv.Error as error:
            yield number, WrongError(f"not CSV: {error}")
            continue
        if not row:
            continue
        if header is None:
            header = [column.strip().lower() for column in row]
        elif len(row) != len(header):
            yield number, WrongError(f"row: has {len(row)} columns, the header {len(header)}")
        else:
            yield number, dict(zip(header, row, strict=True))


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    """Objects of a JSON list, of a list in an object, of a mapping by id, or one a line."""
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        yield from _array(text, start + 1)
        return
    lines = text.strip().splitlines()
    if len(lines) > 1 and lines[0].rstrip().endswith("}"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield number, WrongError(f"not JSON: {error}")
        return
    found = _ARRAY.search(text)
    if found is not None:
        yield from _array(text, found.end())
        return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield 1, WrongError(f"not JSON: {error}")
        return
    if not isinstance(document, dict):
        yield 1, document
        return
    members = document.values() if all(isinstance(v, dict) for v in document.values()) else ()
    for name, value in zip(document, members, strict=False):
        where = text.find(json.dumps(name))
        yield text.count("\n", 0, max(where, 0)) + 1, {"id": name, **value}
    if not members:
        yield 1, document


def _array(text: str, at: int) -> Iterator[tuple[int, Any]]:
    """Members of a list that begins before `at`; a wrong one ends where the next line begins."""
    decoder = json.JSONDecoder()
    gap = re.compile(r"[\s,]*")
    line, counted = 1, 0
    while True:
        space = gap.match(text, at)
        at = at if space is None else space.end()
        line += text.count("\n", counted, at)
        counted = at
        if text[at : at + 1] in {"]", ""}:
            if not text[at:]:
                yield line, WrongError("not JSON: the list does not end")
            return
        try:
            member, at = decoder.raw_decode(text, at)
            yield line, member
        except (ValueError, RecursionError) as error:
            yield line, WrongError(f"not JSON: {error}")
            following = text.find("\n", at)
            at = len(text) if following < 0 else following
