"""`scripts/control`: live configuration of a running job.

`apply` checks a file with the code that the job itself runs, shows what changes, publishes it
on the control topic and waits for every subtask's answer.
"""

from __future__ import annotations

import difflib
import getpass
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
import yaml
from rich.console import Console
from rich.table import Table

from schemas.control import NAMED_KINDS, ControlKind, ControlMessage
from schemas.errors import ConfigError, SluiceError
from schemas.settings import ROOT, Settings, load_settings
from schemas.switches import SwitchesDocument
from schemas.yaml_source import YamlSource
from scripts.cli.control_check import Checker
from scripts.cli.control_topic import ROLLBACK, ControlTopic, Replies, now, version_before

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)
# Without a terminal (a pipe, a log) there is no width to keep to.
out: Final = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

ProfileOption = Annotated[str, typer.Option(help="Profile that names broker, topics and files.")]
TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for answers.")]
KeyArgument = Annotated[
    str,
    typer.Argument(
        help="rules, policy, communities, switches, bank/NAME, media_bank/NAME or model/NAME."
    ),
]

_MARKS: Final[dict[str, ControlKind]] = {
    "rules": "rules",
    "categories": "policy",
    "communities": "communities",
    "bank": "bank",
    "media_bank": "media_bank",
    "folder": "model",
    "observe_only": "switches",
    "disabled_categories": "switches",
    "disabled_actions": "switches",
}
"""Top-level fields by which a file's kind is told."""


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML file: rules, policy, switches, bank, model.")],
    *,
    kind: Annotated[str, typer.Option(help="If it cannot be told from the file.")] = "",
    name: Annotated[str, typer.Option(help="Name of the bank or model.")] = "",
    comment: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Check a file, show what changes, publish it, wait for every subtask."""
    settings = load_settings(profile)
    message = _message_of(file, kind, name, comment)
    checker = Checker(settings)
    checker.check_alone(message)
    with ControlTopic(settings) as topic:
        current = topic.read().current
        checker.check(message, current)
        _print_diff(_text_in_force(settings, message.key, current.get(message.key)), message)
        topic.publish(message)
        _report(topic.wait(message.key, message.digest, timeout), timeout)


@app.command("list")
def list_(profile: ProfileOption = "dev") -> None:
    """List what is published, by key."""
    with ControlTopic(load_settings(profile)) as topic:
        published = topic.read()
    table = Table("key", "digest", "published", "author", "versions", "comment")
    for key, message in sorted(published.current.items()):
        when = message.published_at.strftime("%Y-%m-%d %H:%M:%S")
        versions = str(len(published.history.get(key, [])))
        table.add_row(key, message.digest, when, message.author, versions, message.comment)
    out.print(table if published.current else "nothing is published: the job runs on its files")


@app.command()
def show(
    key: KeyArgument,
    *,
    history: Annotated[bool, typer.Option("--history", help="List every version.")] = False,
    profile: ProfileOption = "dev",
) -> None:
    """Print what is in force for a key, or its history."""
    settings = load_settings(profile)
    _known(key)
    with ControlTopic(settings) as topic:
        published = topic.read()
    if history:
        for message in published.history.get(key, []):
            print(message.digest, message.published_at.isoformat(), message.author, message.comment)
        return
    print(_text_in_force(settings, key, published.current.get(key)), end="")


@app.command()
def diff(
    file: Annotated[Path, typer.Argument(help="The file that would be applied.")],
    *,
    kind: Annotated[str, typer.Option(help="If it cannot be told from the file.")] = "",
    name: Annotated[str, typer.Option(help="Name of the bank or model.")] = "",
    profile: ProfileOption = "dev",
) -> None:
    """Show what `apply` would change."""
    settings = load_settings(profile)
    message = _message_of(file, kind, name)
    with ControlTopic(settings) as topic:
        before = topic.read().current.get(message.key)
    _print_diff(_text_in_force(settings, message.key, before), message)


@app.command()
def rollback(
    key: KeyArgument,
    *,
    to: Annotated[
        str, typer.Option(help="Digest of a version, or file. [default: the version before]")
    ] = "",
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Publish an earlier version again; before the first one, the job's own file."""
    settings = load_settings(profile)
    _known(key)
    with ControlTopic(settings) as topic:
        published = topic.read()
        current = published.current.get(key)
        versions = published.history.get(key, [])
        target = None
        if to and to != "file":
            target = next((m for m in reversed(versions) if m.digest.startswith(to)), None)
            if target is None:
                raise ConfigError(f"no version {to}; see scripts/control show {key} --history")
        elif current is None:
            raise ConfigError(f"nothing is published under {key}")
        elif not to:
            target = version_before(current, versions)
        if target is None:
            topic.withdraw(key)
            print(f"{key}: back to the job's own file")
            _report(topic.wait(key, "", timeout), timeout)
            return
        again = _message(
            target.kind, target.name, target.text, target.file, f"{ROLLBACK}{target.digest}"
        )
        Checker(settings).check(again, published.current)
        _print_diff(current.text if current else "", again)
        topic.publish(again)
        _report(topic.wait(key, again.digest, timeout), timeout)


@app.command()
def observe(
    state: Annotated[str, typer.Argument(help="on: nothing is acted on, only recorded; or off.")],
    *,
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Switch the global observe-only mode on or off."""
    if state not in {"on", "off"}:
        raise ConfigError(f"{state} is neither on nor off")
    _switch(profile, timeout, observe_only=state == "on")


@app.command()
def kill(
    what: Annotated[str, typer.Argument(help="category or action.")],
    name: Annotated[str, typer.Argument(help="Its name, for example spam, or remove.")],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let it act again.")] = False,
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Stop a category from acting, or an action from being taken (people decide instead)."""
    if what == "category":
        _switch(profile, timeout, category=name, undo=undo)
    elif what == "action":
        _switch(profile, timeout, action=name, undo=undo)
    else:
        raise ConfigError(f"{what} is neither category nor action")


def _switch(
    profile: str,
    timeout: float,
    *,
    observe_only: bool | None = None,
    category: str = "",
    action: str = "",
    undo: bool = False,
) -> None:
    settings = load_settings(profile)
    with ControlTopic(settings) as topic:
        current = topic.read().current
        before = current.get("switches")
        old = _switches_of(before)
        categories, actions = set(old.disabled_categories), set(map(str, old.disabled_actions))
        for name, names in ((category, categories), (action, actions)):
            if name:
                (names.discard if undo else names.add)(name)
        document = {
            "observe_only": old.observe_only if observe_only is None else observe_only,
            "disabled_categories": sorted(categories),
            "disabled_actions": sorted(actions),
        }
        text = yaml.safe_dump(document, sort_keys=False)
        message = _message("switches", "", text, "switches")
        checker = Checker(settings)
        if category and not undo:
            checker.check_category(category, current)
        checker.check(message, current)
        _print_diff(before.text if before else "", message)
        topic.publish(message)
        _report(topic.wait("switches", message.digest, timeout), timeout)


def _switches_of(published: ControlMessage | None) -> SwitchesDocument:
    """The switches that are published; all off where there are none, or none that can be read."""
    if published is None:
        return SwitchesDocument()
    try:
        return YamlSource(published.text, "switches").validate(SwitchesDocument)
    except ConfigError as error:
        print(f"warning: what is published is replaced: {error}", file=sys.stderr)
        return SwitchesDocument()


def _message(kind: str, name: str, text: str, file: str, comment: str = "") -> ControlMessage:
    kinds: tuple[str, ...] = ControlKind.__args__  # type: ignore[attr-defined]  # of a Literal
    if kind not in kinds:
        raise ConfigError(f"kind {kind} is not known; known are {', '.join(kinds)}", file=file)
    return ControlMessage(
        kind=kind,  # type: ignore[arg-type]  # checked just above
        name=name,
        text=text,
        file=file,
        author=getpass.getuser(),
        comment=comment,
        published_at=now(),
    )


def _message_of(file: Path, kind: str, name: str, comment: str = "") -> ControlMessage:
    """The message that a file makes."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(file)) from None
    told = kind or _kind_of(text, file)
    if told in NAMED_KINDS and not name:
        name = "fast_text" if told == "model" else file.stem
    return _message(told, name, text, str(file), comment)


def _known(key: str) -> None:
    """Refuse a key that no message can have."""
    kind, _, name = key.partition("/")
    kinds: tuple[str, ...] = ControlKind.__args__  # type: ignore[attr-defined]  # of a Literal
    if kind not in kinds or (kind in NAMED_KINDS) != bool(name):
        there = ", ".join(f"{k}/NAME" if k in NAMED_KINDS else k for k in kinds)
        raise ConfigError(f"no key {key}; there are: {there}")


def _kind_of(text: str, file: Path) -> ControlKind:
    document = YamlSource(text, str(file)).document
    for mark, kind in _MARKS.items():
        if mark in document:
            return kind
    raise ConfigError("cannot tell what kind of file this is; say so with --kind", file=str(file))


def _text_in_force(settings: Settings, key: str, published: ControlMessage | None) -> str:
    """The published text, or the file that the job was started with."""
    if published is not None:
        return published.text
    files = {"rules": settings.cascade.rules, "policy": settings.cascade.policy}
    return (ROOT / files[key]).read_text("utf-8") if key in files else ""


def _print_diff(old: str, message: ControlMessage) -> None:
    lines = list(
        difflib.unified_diff(
            old.splitlines(), message.text.splitlines(), "in force", message.file, lineterm=""
        )
    )
    for line in lines:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        out.print(line, style=style, markup=False, soft_wrap=True)
    if not lines:
        out.print(f"{message.key}: nothing changes")


def _report(replies: Replies, timeout: float) -> None:
    """Print every answer; leave with 1 unless all accepted."""
    for ack in replies.acks:
        said = "in force" if ack.ok else f"REFUSED: {ack.error}"
        print(f"subtask {ack.subtask + 1}/{ack.subtasks}: {said} ({ack.digest or 'own file'})")
    if not replies.complete:
        missing = f"{replies.subtasks - len(replies.acks)} of {replies.subtasks} subtasks"
        who = missing if replies.acks else "no subtask"
        verb = "did not answer" if replies.acks else "answered"
        print(
            f"error: {who} {verb} within {timeout:g} s; the message stays published and a job "
            "that starts later will read it",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    if not all(ack.ok for ack in replies.acks):
        raise typer.Exit(1)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/control")
    except SluiceError as error:
        sys.exit(f"control: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
