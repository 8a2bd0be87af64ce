"""Banks of known pictures and videos: lists in and out, entries, snapshots, and their speed.

A bank lives in the bank file (conf/media_banks.yaml) and in the snapshot that it names. With
--publish a change also goes to running jobs, by the control topic.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from schemas.errors import ConfigError, SluiceError
from schemas.media_banks import KINDS
from schemas.settings import CONF, load_settings
from scripts.cli.bank_bench import measure
from scripts.cli.bank_changes import (
    change,
    changed,
    delta_of,
    empty_index,
    hash_of_picture,
    publish_deltas,
)
from scripts.cli.bank_files import FORMATS, Format, WrongError, write_rows
from scripts.cli.bank_rescan import Rescanner
from scripts.cli.bank_store import BankStore, check_bank, entries_of, load_list
from scripts.cli.consume import records
from udfs.bank_snapshot import read_manifest
from udfs.media_banks import MediaBanks

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

NameArgument = Annotated[str, typer.Argument(help="The bank.")]
FileOption = Annotated[Path, typer.Option("--banks", help="The bank file.")]
PublishOption = Annotated[
    bool, typer.Option("--publish", help="Tell running jobs, and wait for their answers.")
]
TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for answers.")]
ProfileOption = Annotated[str, typer.Option(help="Profile that names broker and topics.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

BANKS: Final = CONF / "media_banks.yaml"
_LISTED: Final = 20
"""Wrong rows that are printed one by one."""
_SILENCE_S: Final = 3.0
"""Without a record, then the evidence topic is taken to be read."""
_IN_ONE_DELTA: Final = 500
"""Entries of one control message: a job lays them over its bank in 25 ms."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A list of hashes.")],
    *,
    bank: Annotated[str, typer.Option(help="Name of the bank; made where it is not there.")],
    kind: Annotated[str, typer.Option(help=f"Kind of hash: {', '.join(KINDS)}.")] = "",
    category: Annotated[str, typer.Option(help="What its entries are.")] = "",
    severity: Annotated[str, typer.Option(help="mild, moderate or severe.")] = "",
    polarity: Annotated[str, typer.Option(help="bad or good.")] = "",
    source: Annotated[str, typer.Option(help="Where the entries come from.")] = "",
    distance: Annotated[int, typer.Option(help="Differing bits. [default: the kind's]")] = -1,
    form: Annotated[
        str, typer.Option("--format", help=f"{', '.join(FORMATS)}. [default: told by the file]")
    ] = "",
    append: Annotated[bool, typer.Option("--append", help="Keep what is there.")] = False,
    banks: FileOption = BANKS,
    publish: PublishOption = False,
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
    as_json: JsonOption = False,
) -> None:
    """Read a list into a bank. Wrong rows are named by line, the rest is loaded."""
    store = BankStore(banks)
    given: dict[str, Any] = {
        name: value
        for name, value in {
            "kind": kind, "category": category, "severity": severity, "polarity": polarity,
            "source": source, "distance": None if distance < 0 else distance,
        }.items()
        if value not in {"", None}
    }  # fmt: skip
    delta = delta_of({"media_bank": bank, **given})
    spec = changed(delta, store.specs.get(bank))
    if form and form not in FORMATS:
        raise ConfigError(f"no format {form}; there are: {', '.join(FORMATS)}")
    chosen: Format | None = next((each for each in FORMATS if each == form), None)
    found = load_list(file, spec.kind, chosen, spec.min_quality)
    live = store.load(bank) if append and bank in store.specs else empty_index(spec)
    size = KINDS[spec.kind].bits // 8
    places = [
        place
        for place, hits in enumerate(live.search(found.hashes, distance=0))
        if not any(hit.name == found.names[place] for hit in hits)
    ]
    names = [found.names[place] for place in places]
    live.add(b"".join(found.hashes[p * size : (p + 1) * size] for p in places), names)
    for name in dict.fromkeys(found.disputed):
        live.dispute(name)
    spec, manifest = store.write(spec, live)
    report = {
        "bank": bank, "file": str(file), "loaded": len(found.names), "new": len(names),
        "hashes": manifest.rows, "entries": manifest.entries, "disputed": manifest.disputed,
        "left_out": found.skipped,
        "wrong": [{"line": fault.line, "message": fault.message} for fault in found.faults],
        "snapshot": str(banks.parent / str(spec.snapshot)),
        "snapshot_sha256": spec.snapshot_sha256,
    }  # fmt: skip
    if as_json:
        print(json.dumps(report))
    else:
        for fault in found.faults[:_LISTED]:
            print(f"{file}:{fault.line}: {fault.message}", file=sys.stderr)
        if len(found.faults) > _LISTED:
            print(f"and {len(found.faults) - _LISTED} more wrong rows", file=sys.stderr)
        left = "".join(f"; {count} left out: {why}" for why, count in found.skipped.items())
        print(f"{bank}: {len(found.names)} of {file} loaded, {len(found.faults)} wrong{left}")
        print(f"{manifest.rows} hashes of {manifest.entries} entries in {report['snapshot']}")
    if publish:
        place = str((banks.parent / str(spec.snapshot)).resolve())
        about = spec.model_dump(mode="json", exclude={"id", "entries", "flood"}, exclude_none=True)
        about |= {"snapshot": place, "snapshot_sha256": spec.snapshot_sha256}
        publish_deltas(profile, bank, [{"media_bank": bank, **about}], timeout, whole=True)


@app.command()
def export(
    bank: NameArgument,
    *,
    out: Annotated[Path | None, typer.Option(help="File. [default: standard output]")] = None,
    form: Annotated[
        str, typer.Option("--format", help="csv, json, threatexchange, hma, ncmec.")
    ] = "csv",
    banks: FileOption = BANKS,
) -> None:
    """Write a bank's entries as a list."""
    store = BankStore(banks)
    chosen = next((each for each in FORMATS if each == form), None)
    if chosen is None:
        raise ConfigError(f"no format {form}; there are: {', '.join(FORMATS)}")
    rows = entries_of(store.load(bank))
    with contextlib.ExitStack() as stack:
        stream = sys.stdout if out is None else stack.enter_context(out.open("w", encoding="utf-8"))
        try:
            count = write_rows(stream, rows, store.spec(bank).kind, chosen)
        except WrongError as wrong:
            raise ConfigError(str(wrong)) from None
    print(f"{bank}: {count} hashes", file=sys.stderr)


@app.command()
def add(
    bank: NameArgument,
    *,
    entry: Annotated[str, typer.Option("--id", help="Name of the entry.")],
    digest: Annotated[list[str], typer.Option("--hash", help="Hex; several for a video.")] = [],  # noqa: B006 - typer wants a list
    picture: Annotated[Path | None, typer.Option(help="A picture to hash instead.")] = None,
    disputed: Annotated[bool, typer.Option("--disputed", help="Its matches go to review.")] = False,
    banks: FileOption = BANKS,
    publish: PublishOption = False,
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Add an entry to a bank."""
    store = BankStore(banks)
    spec = store.spec(bank)
    hashes = [each.lower() for each in digest]
    if picture is not None:
        hashes.append(hash_of_picture(picture, spec))
    if not hashes:
        raise ConfigError("give --hash or --picture")
    status = "disputed" if disputed else "confirmed"
    entries = [{"hash": each, "id": entry, "status": status} for each in hashes]
    change(store, {"media_bank": bank, "add": entries})
    print(f"{bank}: {entry} is in, with {len(hashes)} hashes")
    if publish:
        parts = [entries[at : at + _IN_ONE_DELTA] for at in range(0, len(entries), _IN_ONE_DELTA)]
        bodies = [{"media_bank": bank, "add": part} for part in parts]
        publish_deltas(profile, bank, bodies, timeout)


@app.command()
def mark(
    bank: NameArgument,
    entries: Annotated[list[str], typer.Argument(help="Ids of entries.")],
    *,
    state: Annotated[str, typer.Option("--as", help="withdrawn, disputed or confirmed.")],
    banks: FileOption = BANKS,
    publish: PublishOption = False,
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Withdraw entries, or say that people dispute them (their matches go to review)."""
    fields = {"withdrawn": "withdraw", "disputed": "dispute", "confirmed": "confirm"}
    if state not in fields:
        raise ConfigError(f"--as {state}: must be withdrawn, disputed or confirmed")
    store = BankStore(banks)
    live = store.load(bank)
    missing = [entry for entry in entries if not live.rows_of(entry)]
    if missing:
        raise ConfigError(f"bank {bank} has no entry {missing[0]}", file=str(banks))
    body = {"media_bank": bank, fields[state]: list(entries)}
    change(store, body)
    print(f"{bank}: {len(entries)} entries {state}")
    if publish:
        publish_deltas(profile, bank, [body], timeout)


@app.command()
def disable(
    bank: NameArgument,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Switch it on again.")] = False,
    banks: FileOption = BANKS,
    publish: PublishOption = False,
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Switch a bank off: it keeps its entries and matches nothing."""
    store = BankStore(banks)
    store.save(store.spec(bank).model_copy(update={"enabled": undo}))
    print(f"{bank}: {'on' if undo else 'off'}")
    if publish:
        publish_deltas(profile, bank, [{"media_bank": bank, "enabled": undo}], timeout)


@app.command("list")
def list_(*, banks: FileOption = BANKS, as_json: JsonOption = False) -> None:
    """List the banks of the file."""
    store = BankStore(banks)
    listed = []
    for spec in store.specs.values():
        counts = {"hashes": len(spec.entries), "entries": len({e.id for e in spec.entries})}
        if spec.snapshot is not None:
            manifest = read_manifest(banks.parent / spec.snapshot)
            counts = {"hashes": manifest.rows, "entries": manifest.entries}
        about = spec.model_dump(mode="json", exclude={"entries"})
        listed.append({**about, **counts, "distance": spec.reach})
    if as_json:
        print(json.dumps({"banks": listed}))
        return
    columns = ("id", "kind", "category", "severity", "polarity", "distance", "enabled", "entries")
    table = Table(*columns, "hashes", "source")
    for each in listed:
        table.add_row(*(str(each[column]) for column in (*columns, "hashes", "source")))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table if listed else f"{banks}: there are no banks")


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Banks. [default: all]")] = None,
    *,
    banks: FileOption = BANKS,
) -> None:
    """Compare snapshots with their hashes, and look up a sample of their own entries."""
    store = BankStore(banks)
    failed = False
    for name in names or list(store.specs):
        spec = store.spec(name)
        if spec.snapshot is None:
            print(f"{name}: {len(spec.entries)} entries in the file, no snapshot")
            continue
        started = time.perf_counter()
        store.load(name)
        manifest, wrong = check_bank(banks.parent / spec.snapshot)
        for message in wrong[:_LISTED]:
            print(f"{name}: {message}", file=sys.stderr)
        failed |= bool(wrong)
        took = time.perf_counter() - started
        said = "right" if not wrong else f"{len(wrong)} rows are wrong"
        print(
            f"{name}: {manifest.rows} hashes of {manifest.entries} entries, {said} ({took:.1f} s)"
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def rescan(
    names: Annotated[list[str] | None, typer.Argument(help="Banks. [default: all]")] = None,
    *,
    hours: Annotated[
        float, typer.Option(min=0, help="How far back; 0: all that the topic holds.")
    ] = 0.0,
    banks: FileOption = BANKS,
    profile: ProfileOption = "dev",
) -> None:
    """Match what was looked at earlier with the banks as they are now; a JSON line a match.

    For entries that were added after contents had been decided. Reads the evidence topic, decides
    and publishes nothing.
    """
    store = BankStore(banks)
    for name in names or ():
        store.spec(name)
    since = time.time() * 1000 - hours * 3_600_000 if hours else 0.0
    scan = Rescanner(MediaBanks.load(banks), names or (), since)
    settings = load_settings(profile)
    topic = [settings.topics.evidence]
    for row in scan.matches(records(settings, topic, from_beginning=True, timeout_s=_SILENCE_S)):
        print(json.dumps(row), flush=True)
    contents, matched, other = scan.counts
    left = f", {other} records are no evidence of media" if other else ""
    print(f"{matched} of {contents} contents match{left}", file=sys.stderr)


@app.command()
def bench(
    *,
    sizes: Annotated[str, typer.Option(help="Numbers of hashes: 100k,1M,10M.")] = "100k,1M",
    out: Annotated[Path | None, typer.Option(help="File for the figures, as JSON.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where snapshots go for the time.")] = None,
) -> None:
    """Measure lookups, build, load, memory and the delay of changes on random PDQ hashes."""
    results = []
    for size in sizes.split(","):
        result = measure(_number(size), folder=folder)
        print(json.dumps(result), flush=True)
        results.append(result)
    if out is not None:
        figures = {
            "measured_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "cpus": os.cpu_count(),
            "threads": 1,
            "load_average": round(os.getloadavg()[0], 2),
            "banks": results,
        }
        out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _number(size: str) -> int:
    factor = {"k": 1000, "M": 1_000_000}.get(size.strip()[-1:], 1)
    digits = size.strip().rstrip("kM")
    if not digits.isdecimal() or not int(digits):
        raise ConfigError(f"--sizes {size}: must be a number, perhaps with k or M")
    return int(digits) * factor


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/banks")
    except SluiceError as error:
        sys.exit(f"banks: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
