"""`scripts/user`: what is known about a user, and labels that people give."""

from __future__ import annotations

import datetime as dt
import getpass
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from operators.user_store import UserStore
from schemas.errors import DependencyUnavailableError, InvalidUploadError, SluiceError
from schemas.features import Restriction, UserFeatures
from schemas.settings import CONF, Settings, load_settings
from schemas.trust import Labelled, TrustDocument, UserRow, load_trust
from schemas.user_events import LabelGiven, decode_user_event, labelled, to_ms
from scripts.cli.publisher import Prepared, UploadPublisher
from udfs.trust import effective, strictest

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_POLL_S: Final = 0.05
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

User = Annotated[str, typer.Argument(metavar="ID", help="The user's id.")]
Profile = Annotated[
    str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
]
Wait = Annotated[
    float, typer.Option(min=0, help="Seconds to wait until the job has taken it; 0: do not wait.")
]
Config = Annotated[Path, typer.Option("--config", help="Strikes and restrictions.")]
TRUST: Final = CONF / "trust.yaml"


class UserNow(msgspec.Struct, frozen=True, kw_only=True):
    """What holds about a user now."""

    user_id: str
    row: UserRow | None
    """As the job wrote it; None: the user is not known."""
    labels: list[Labelled]
    """That hold now."""
    restriction: Restriction | None
    """That acts on the next upload."""


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
    wait: Wait = 5.0,
    profile: Profile = "dev",
) -> None:
    """Give a user a label, or deny it. It outranks what rules and models say."""
    now = _now()
    settings = load_settings(profile)
    given = LabelGiven(
        user_id=user_id,
        name=name,
        present=not deny,
        reason=reason,
        by=by or getpass.getuser(),
        at=now,
        expires_at=now + dt.timedelta(milliseconds=duration_ms(lasts)) if lasts else None,
    )
    taken = say(settings, [given], wait)
    until = f" until {_time(to_ms(given.expires_at))}" if given.expires_at else ""
    _report(f"{user_id} {'is denied' if deny else 'has'} {name}{until}", wait, taken=taken)


@app.command()
def clear(
    user_id: User,
    names: Annotated[list[str] | None, typer.Argument(help="Labels; all without.")] = None,
    wait: Wait = 5.0,
    profile: Profile = "dev",
) -> None:
    """Take back labels that people gave. What rules and models say counts again."""
    settings = load_settings(profile)
    known = UserStore(settings.redis).row(user_id)
    now = _now()
    there = {
        each.name
        for each in (known.said if known else ())
        if each.source == "person" and (not each.expires_ms or each.expires_ms > to_ms(now))
    }
    wanted = sorted(there & set(names) if names else there)
    if names and not wanted:
        raise SluiceError(f"nobody gave {user_id} any of {', '.join(names)}")
    given = [
        LabelGiven(user_id=user_id, name=name, by=getpass.getuser(), at=now, expires_at=now)
        for name in wanted
    ]
    taken = say(settings, given, wait)
    _report(f"{len(wanted)} of people's labels taken back", wait, taken=taken)


def say(settings: Settings, given: Sequence[LabelGiven], wait_s: float) -> bool:
    """Publish what is said about one user, and wait until the job has taken it.

    Args:
        settings: name broker, topics and Redis.
        given: about one user.
        wait_s: how long to wait for the user's row to have it.

    Returns:
        Whether it has.

    Raises:
        InvalidUploadError: naming the field at fault; nothing was published.
        DependencyUnavailableError: no broker or no Redis answers.
    """
    records = [msgspec.json.encode(each) for each in given]
    for record in records:
        decode_user_event(record)  # its limits are the record's
    with UploadPublisher(settings) as publisher:
        for each, record in zip(given, records, strict=True):
            key = each.user_id.encode("utf-8", "replace")
            publisher.send(Prepared(settings.topics.user_events, None, key, record))
        publisher.flush()
        if publisher.failures:
            raise DependencyUnavailableError("kafka", publisher.failures[0])
    store = UserStore(settings.redis)
    ends = time.monotonic() + wait_s
    while given:
        row = store.row(given[0].user_id)
        if row and all(labelled(each) in row.said for each in given):
            return True
        if time.monotonic() >= ends:
            return False
        time.sleep(_POLL_S)
    return True


def user_now(store: UserStore, user_id: str, config: TrustDocument, now_ms: int) -> UserNow:
    """What the job wrote, as it holds now: strikes lapse and labels expire.

    Args:
        store: of the rows.
        user_id: of the user.
        config: the restrictions.
        now_ms: ms since the epoch.
    """
    row = store.row(user_id)
    labels = effective(row.said if row else (), now_ms)
    strikes = [s for s in (row.strikes if row else ()) if s.expires_ms > now_ms]
    return UserNow(
        user_id=user_id,
        row=row,
        labels=labels,
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
    for each in found.row.said if found.row else ():
        over = each.expires_ms and each.expires_ms <= now_ms
        if not each.present and not over:
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


def _report(text: str, wait_s: float, *, taken: bool) -> None:
    if taken:
        print(text, file=sys.stderr)
        return
    print(f"{text}, when the moderation job reads it", file=sys.stderr)
    if wait_s:
        print(f"user: it has not within {wait_s:g} s", file=sys.stderr)
        sys.exit(3)


def _now() -> dt.datetime:
    # To the millisecond, which is what is remembered.
    return dt.datetime.fromtimestamp(_now_ms() / 1000, dt.UTC)


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
