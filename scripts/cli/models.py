"""`scripts/models`: the registry of model packages.

Packages lie in a store as NAME/VERSION, never changed, beside a pointer to the active one. The
store is a folder, or an address as s3://bucket/models. `activate` and `rollback` load the package
as the job does, publish it on the control topic, wait until every subtask runs it, and then move
the pointer.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from operators.model_store import ModelStore
from schemas.errors import ConfigError, DependencyUnavailableError, SluiceError
from schemas.settings import ROOT, load_settings
from scripts.cli import model_registry
from scripts.cli.model_registry import Published, activation, lineage
from udfs.model_package import read_manifest

STORE: Final = Path(os.environ.get("SLUICE_RUN_DIR", ROOT / ".run")) / "models"
app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)
# Without a terminal (a pipe, a log) there is no width to keep to.
out: Final = Console(highlight=False, width=None if sys.stdout.isatty() else 200)

StoreOption = Annotated[
    str, typer.Option(envvar="SLUICE_MODEL_STORE", help="Folder or address of the store.")
]
ProfileOption = Annotated[str, typer.Option(help="Profile that names broker and topics.")]
TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for answers.")]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Only move the pointer; publish nothing.")
]
CommentOption = Annotated[str, typer.Option(help="Why; kept in the history.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the model, as fast_text.")]


@app.command("list")
def list_(
    name: Annotated[str, typer.Argument(help="Only this model.")] = "",
    *,
    history: Annotated[bool, typer.Option("--history", help="Every move of the pointer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    store: StoreOption = str(STORE),
) -> None:
    """List packages with where they come from, or how the pointer moved."""
    models = ModelStore(store)
    names = [name] if name else models.names()
    rows = _moves(models, names) if history else _packages(models, names)
    if as_json:
        for row in rows:
            print(msgspec.json.encode(row).decode())
        return
    if not rows:
        out.print(f"nothing in {store}", markup=False)
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    out.print(table)


def _packages(models: ModelStore, names: list[str]) -> list[dict[str, str]]:
    rows = []
    for name in names:
        active = models.active(name)
        for version in models.versions(name):
            manifest = models.manifest(name, version)
            mark = "active" if active and active.version == version else ""
            facts = lineage(manifest)._asdict()
            size = sum(entry.bytes for entry in manifest.files.values())
            rows.append(
                {"name": name, "version": version, "state": mark, "bytes": str(size), **facts}
            )
    return rows


def _moves(models: ModelStore, names: list[str]) -> list[dict[str, str]]:
    rows = []
    for name in names:
        active = models.active(name)
        for move in active.history if active else ():
            kind = "rollback" if move.rollback else "activate"
            rows.append(
                {
                    "name": name,
                    "version": move.version,
                    "move": kind,
                    "at": move.at.isoformat(),
                    "author": move.author,
                    "comment": move.comment,
                }
            )
    return rows


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="A package: manifest.json and its files.")],
    *,
    store: StoreOption = str(STORE),
) -> None:
    """Copy a package into the store, if it loads."""
    name = read_manifest(folder, _Named).name
    model_registry.load(folder, name)
    added = ModelStore(store).add(folder)
    print(f"{added.name} {added.version}: {'added' if added.new else 'was there already'}")


class _Named(msgspec.Struct, frozen=True):
    """The part of a manifest that says what it is of."""

    name: str


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Only this model.")] = "",
    version: Annotated[str, typer.Argument(help="Only this version.")] = "",
    *,
    store: StoreOption = str(STORE),
) -> None:
    """Check every file against its manifest, and load every package. Leaves with 1 on a fault."""
    models = ModelStore(store)
    faults = checked = 0
    for model in [name] if name else models.names():
        for each in [version] if version else models.versions(model):
            checked += 1
            try:
                _load(models, model, each)
            except ConfigError as error:
                faults += 1
                print(f"{model} {each}: FAULT: {error}")
                continue
            print(f"{model} {each}: sound")
        active = models.active(model)
        if active is not None and active.version not in models.versions(model):
            faults += 1
            print(f"{model}: FAULT: the active version {active.version} is not there")
    if not checked:
        raise ConfigError("nothing to verify", file=store)
    if faults:
        raise typer.Exit(1)


@app.command()
def activate(
    name: NameArgument,
    version: Annotated[str, typer.Argument(help="A version in the store, or its beginning.")],
    *,
    comment: CommentOption = "",
    offline: OfflineOption = False,
    timeout: TimeoutOption = 30.0,
    store: StoreOption = str(STORE),
    profile: ProfileOption = "dev",
) -> None:
    """Run a version: publish it, wait for every subtask, move the pointer."""
    models = ModelStore(store)
    found = [each for each in models.versions(name) if each.startswith(version)]
    if len(found) != 1:
        there = ", ".join(models.versions(name)) or "none"
        what = "more than one version" if found else "no version"
        raise ConfigError(f"{what} of {name} begins with {version}; there are: {there}", file=store)
    _move(models, name, found[0], comment, offline, timeout, profile, rollback=False)


@app.command()
def rollback(
    name: NameArgument,
    *,
    comment: CommentOption = "",
    offline: OfflineOption = False,
    timeout: TimeoutOption = 30.0,
    store: StoreOption = str(STORE),
    profile: ProfileOption = "dev",
) -> None:
    """Go back to the version that was active before; again, to the one before that."""
    models = ModelStore(store)
    active = models.active(name)
    if active is None or not active.previous:
        raise ConfigError(f"no version of {name} was active before", file=store)
    _move(models, name, active.previous, comment, offline, timeout, profile, rollback=True)


def _move(
    models: ModelStore,
    name: str,
    version: str,
    comment: str,
    offline: bool,
    timeout: float,
    profile: str,
    *,
    rollback: bool,
) -> None:
    _load(models, name, version)
    published = None
    if not offline:
        settings = load_settings(profile)
        try:
            published = model_registry.publish(settings, models, name, version, comment, timeout)
        except DependencyUnavailableError as error:
            raise SluiceError(f"{error}; --offline moves the pointer alone") from error
        _report(published, timeout)
        if published.taken_back:
            print(f"error: {name} stays as it was: a subtask refused {version}", file=sys.stderr)
            raise typer.Exit(1)
    models.activate(name, activation(version, comment, rollback=rollback))
    print(f"{name}: {version} is active" + (" (pointer only)" if offline else ""))
    if published is not None and not published.accepted:
        print(
            "error: not every subtask answered; the message stays published, and a job that "
            "starts later will read it",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _report(published: Published, timeout: float) -> None:
    replies = published.replies
    for ack in replies.acks:
        said = "in force" if ack.ok else f"REFUSED: {ack.error}"
        print(f"subtask {ack.subtask + 1}/{ack.subtasks}: {said}")
    if not replies.complete:
        missing = f"{replies.subtasks - len(replies.acks)} subtasks" if replies.acks else "subtasks"
        print(f"no answer from {missing} within {timeout:g} s", file=sys.stderr)


def _load(models: ModelStore, name: str, version: str) -> None:
    """Load a package of the store as a worker will."""
    with tempfile.TemporaryDirectory() as cache:
        model_registry.load(models.fetch(name, version, Path(cache)), name)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/models")
    except SluiceError as error:
        sys.exit(f"models: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
