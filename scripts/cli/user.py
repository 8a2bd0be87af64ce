"""`scripts/user`: what is known about a user, and labels that people give."""

from __future__ import annotations

import datetime as dt
import getpass
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from operators.user_store import UserStore
from schemas.errors import InvalidUploadError, SluiceError
from schemas.features import UserFeatures
from schemas.settings import CONF, load_settings
from schemas.trust import Labelled, Restriction, TrustDocument, UserRow, decode_label, load_trust
from udfs.trust import effective, strictest

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

User = Annotated[str, typer.Argument(metavar="ID", help="The user's id.")]
Profile = Annotated[
    str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
]
Config = Annotated[Path, typer.Option("--config", help="Strikes and restrictions.")]
TRUST: Final = CONF / "trust.yaml"


class UserNow(msgspec.Struct, frozen=True, kw_only=True):
    """What holds about a user now."""

    user_id: str
    row: UserRow | None
    """As the job wrote it; None: the user is not known."""
    labels: list[Labelled]
    """That hold now: people's, and of the row what nobody contradicted."""
    said: list[Labelled]
    """All that people set, expired ones and denials as well."""
    restriction: Restriction | None
    """That acts on the next upload, by these labels and the row's strikes."""


@app.command()
def show(
    user_id: User,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    profile: Profile = "dev",
    config: Config = TRUST,
) -> None:
    """Show reputation, strikes, labels and restriction of a user."""
    store = UserStore(load_settings(profile).redis)
    found = user_now(store, user_id, load_trust(config), _now_ms())
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return
    _print(found, _now_ms())


@app.command()
def label(
    user_id: User,
    name: Annotated[str, typer.Argument(help="Lower case, as spammer or watched.")],
    reason: Annotated[str, typer.Option(help="Why; others read it.")],
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="As 12h, 7d or 2w; without it, for ever.")
    ] = "",
    deny: Annotated[
        bool, typer.Option("--deny", help="The user shall not have it, whatever rules say.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who says so; the one who runs this.")] = "",
    profile: Profile = "dev",
) -> None:
    """Give a user a label, or deny it. It outranks what rules and models say."""
    now = _now_ms()
    said = Labelled(
        name=name,
        source="person",
        present=not deny,
        reason=reason,
        by=by or getpass.getuser(),
        at_ms=now,
        expires_ms=now + duration_ms(lasts) if lasts else 0,
    )
    decode_label(msgspec.json.encode(said))  # its limits are the record's
    UserStore(load_settings(profile).redis).set_label(user_id, said)
    until = f" until {_time(said.expires_ms)}" if said.expires_ms else ""
    _say(f"{user_id} {'is denied' if deny else 'has'} {name}{until}")


@app.command()
def clear(
    user_id: User,
    names: Annotated[list[str] | None, typer.Argument(help="Labels; all without.")] = None,
    profile: Profile = "dev",
) -> None:
    """Take back labels that people gave. What rules and models say counts again."""
    count = UserStore(load_settings(profile).redis).clear_labels(user_id, *(names or []))
    _say(f"{count} of people's labels taken back")
    if names and not count:
        raise SluiceError(f"nobody gave {user_id} any of {', '.join(names)}")


def user_now(store: UserStore, user_id: str, config: TrustDocument, now_ms: int) -> UserNow:
    """Put together what jobs and people wrote.

    Args:
        store: both.
        user_id: of the user.
        config: the restrictions.
        now_ms: ms since the epoch.
    """
    row, said = store.row(user_id), store.labels(user_id)
    labels = effective([*(row.labels if row else ()), *said], now_ms)
    strikes = [s for s in (row.strikes if row else ()) if s.expires_ms > now_ms]
    return UserNow(
        user_id=user_id,
        row=row,
        labels=labels,
        said=said,
        restriction=strictest(labels, strikes, config),
    )


def duration_ms(text: str) -> int:
    """Milliseconds of a time such as 90m, 12h, 7d or 2w.

    Raises:
        SluiceError: it is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise SluiceError(f"--for {text}: write a number and s, m, h, d or w, as 7d")
    return int(float(found.group(1)) * _SECONDS[found.group(2)] * 1000)


def _print(found: UserNow, now_ms: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    row = found.row or UserFeatures()
    known = "" if found.row else " (not known: the defaults of a new user)"
    console.print(f"[bold]{escape(found.user_id)}[/bold]{known}")
    console.print(f"reputation    {row.reputation:g} of 100")
    console.print(
        f"uploads       {row.uploads}, {row.violations} of them violations"
        f" ({row.toxicity_rate:.1%}), reported {row.report_rate:.1%}"
    )
    for strike in found.row.strikes if found.row else ():
        state = "lapses" if strike.expires_ms > now_ms else "lapsed"
        console.print(
            f"strike        {strike.weight:g}, {strike.severity}, {_time(strike.at_ms)},"
            f" {state} {_time(strike.expires_ms)}"
        )
    for each in found.labels:
        console.print(f"label         {escape(_words(each))}")
    for each in found.said:
        if not each.present and each.name not in {known.name for known in found.labels}:
            console.print(f"denied        {escape(_words(each))}")
    if found.restriction:
        reason = escape(found.restriction.reason)
        console.print(f"restriction   {found.restriction.measure}: {reason}")


def _words(label: Labelled) -> str:
    until = f", until {_time(label.expires_ms)}" if label.expires_ms else ""
    why = f": {label.reason}" if label.reason else ""
    return f"{label.name}, by {label.source} {label.by}, {_time(label.at_ms)}{until}{why}"


def _time(ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(ms / 1000, dt.UTC):%Y-%m-%d %H:%M} UTC"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _now_ms() -> int:
    return int(time.time() * 1000)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        return app(arguments, prog_name="scripts/user")
    except InvalidUploadError as error:
        sys.exit(f"user: {error.message}")
    except SluiceError as error:
        sys.exit(f"user: {error}")


if __name__ == "__main__":
    main()
