"""`scripts/campaigns`: what many users shared at once, and what a person says about it."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
import typer
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from schemas.campaign import Campaign, decode_campaign
from schemas.campaign_job import CampaignsDocument, load_campaigns
from schemas.control import ControlMessage
from schemas.errors import DependencyUnavailableError, InvalidUploadError, SluiceError
from schemas.settings import ROOT, Settings, load_settings
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.control_topic import ControlTopic, Replies, now
from udfs.campaign_bank import GOOD_BANK, bank_text, good_text

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)
# Without a terminal (a pipe, a log) there is no width to keep to.
out: Final = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

ProfileOption = Annotated[str, typer.Option(help="Profile that names broker, topics and files.")]
TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for answers.")]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The campaign's id, or how it begins.")
]


@app.command("list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    profile: ProfileOption = "dev",
) -> None:
    """List campaigns at their newest revision, the latest first."""
    found = [
        each
        for each in sorted(read(load_settings(profile)), key=_latest, reverse=True)
        if everything or each.status == "live"
    ]
    if as_json:
        for each in found:
            print(msgspec.json.encode(each).decode())
        return
    table = Table(
        "id", "kind", "users", "communities", "uploads", "weight", "last seen", "mode", "status"
    )
    for each in found:
        about = "~" if each.estimated else ""
        table.add_row(
            each.campaign_id,
            each.kind,
            f"{about}{each.users}",
            f"{about}{each.communities}",
            f"{about}{each.uploads}",
            f"{each.mean_weight:.2f}",
            f"{each.last_seen:%Y-%m-%d %H:%M:%S}",
            each.mode,
            each.status,
        )
    out.print(table if found else "no campaign")


@app.command()
def show(campaign_id: IdArgument, *, profile: ProfileOption = "dev") -> None:
    """Print one campaign as JSON, and what is published for it."""
    settings = load_settings(profile)
    campaign = find(read(settings), campaign_id)
    with ControlTopic(settings) as topic:
        message = topic.read().current.get(campaign.control_key)
    document = msgspec.to_builtins(campaign) | {
        "published": None if message is None else message.text
    }
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


@app.command()
def act(
    campaign_id: IdArgument,
    *,
    comment: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Let a campaign's bank decide: later copies are acted on until it expires."""
    settings = load_settings(profile)
    config = _config(settings)
    campaign = find(read(settings), campaign_id)
    if campaign.status != "live":
        raise SluiceError(f"campaign {campaign.campaign_id} is {campaign.status}: its bank is over")
    text = bank_text(
        campaign,
        confidence=config.bank.confidence,
        similarity=config.texts.similarity,
        distance=config.pictures.distance,
        observe_only=False,
    )
    with ControlTopic(settings) as topic:
        message = _message(campaign, campaign.bank, text, comment)
        topic.publish(message)
        _report(topic.wait(message.key, message.digest, timeout), timeout)


@app.command()
def dismiss(
    campaign_id: IdArgument,
    *,
    comment: Annotated[str, typer.Option(help="Why; kept with the entry.")] = "",
    timeout: TimeoutOption = 10.0,
    profile: ProfileOption = "dev",
) -> None:
    """Take a campaign's bank back, and put its content into a known-good bank."""
    settings = load_settings(profile)
    config = _config(settings)
    campaign = find(read(settings), campaign_id)
    note = f"dismissed by {getpass.getuser()}" + (f": {comment}" if comment else "")
    text = good_text(campaign, note=note, distance=config.pictures.distance)
    with ControlTopic(settings) as topic:
        message = _message(campaign, f"{GOOD_BANK}.{campaign.campaign_id}", text, comment)
        topic.publish(message)
        good = topic.wait(message.key, message.digest, timeout)
        topic.withdraw(campaign.control_key)
        gone = topic.wait(campaign.control_key, "", timeout)
    _report(good, timeout)
    _report(gone, timeout)


def read(settings: Settings) -> list[Campaign]:
    """Every campaign on the topic, at its newest revision.

    Raises:
        DependencyUnavailableError: where no broker answers or the topic is not there.
    """
    consumer = open_consumer(settings, [settings.topics.campaigns], from_beginning=True)
    try:
        ends = consumer.end_offsets(consumer.assignment())
        records: list[Record] = []
        while any(consumer.position(tp) < end for tp, end in ends.items()):
            records += poll(consumer, 200)
    except KafkaError as error:
        raise DependencyUnavailableError("kafka", str(error)) from error
    finally:
        consumer.close()
    return newest(records)


def newest(records: Iterable[Record]) -> list[Campaign]:
    """The newest revision of each campaign; what cannot be read is passed over.

    A campaign that came back after it had been forgotten begins at revision 0: what was seen
    later is newer, whatever its revision.
    """
    found: dict[str, Campaign] = {}
    for record in records:
        try:
            each = decode_campaign(record.value)
        except InvalidUploadError:
            continue
        before = found.get(each.campaign_id)
        if before is None or _age(before) <= _age(each):
            found[each.campaign_id] = each
    return list(found.values())


def find(campaigns: Iterable[Campaign], wanted: str) -> Campaign:
    """The one campaign whose id begins so.

    Raises:
        SluiceError: there is none, or several.
    """
    found = [each for each in campaigns if each.campaign_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SluiceError(f"no campaign {wanted}; see scripts/campaigns list --all")
    raise SluiceError(f"{wanted} begins {len(found)} campaigns' ids; give more of it")


def _age(campaign: Campaign) -> tuple[object, int]:
    return campaign.last_seen, campaign.revision


def _latest(campaign: Campaign) -> tuple[float, str]:
    return campaign.last_seen.timestamp(), campaign.campaign_id


def _config(settings: Settings) -> CampaignsDocument:
    return load_campaigns(ROOT / settings.campaigns.config)


def _message(campaign: Campaign, name: str, text: str, comment: str) -> ControlMessage:
    return ControlMessage(
        kind="media_bank" if campaign.kind == "picture" else "bank",
        name=name,
        text=text,
        file=f"campaign {campaign.campaign_id}",
        author=getpass.getuser(),
        comment=comment,
        published_at=now(),
    )


def _report(replies: Replies, timeout: float) -> None:
    """Print every answer; leave with 1 unless all accepted."""
    for ack in replies.acks:
        said = "in force" if ack.ok else f"REFUSED: {ack.error}"
        print(f"subtask {ack.subtask + 1}/{ack.subtasks}: {ack.key} {said}")
    if not replies.complete:
        print(
            f"error: {len(replies.acks)} of {replies.subtasks or 'no'} subtasks answered"
            f" within {timeout:g} s; a job that starts later will read it",
            file=sys.stderr,
        )
    if not replies.complete or not all(ack.ok for ack in replies.acks):
        raise typer.Exit(1)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/campaigns")
    except SluiceError as error:
        sys.exit(f"campaigns: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
