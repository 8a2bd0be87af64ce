"""Measures what finds campaigns, on texts of one's own: `python -m scripts.cli.campaign_measure`.

Strangers: every text comes from a new account of its own, all within one window: what is told
then are texts that many people had in common before, or mistakes. Copies: of some of the texts
twenty new accounts each write their own version; how many of these campaigns are told, by how
much the versions differ, and how many versions that come later their banks know.
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from operators.campaign_count import CountLogic, Crossing
from operators.campaign_live import representative
from operators.campaign_state import Copy
from operators.metrics import Metrics
from schemas.campaign_job import CampaignsDocument, load_campaigns
from schemas.settings import CONF
from udfs.campaign_copies import hash64, text_content
from udfs.campaign_sketch import similarity, sketch_of
from udfs.normalise import normalise

app = typer.Typer(add_completion=False, help=__doc__)

_LOOKS_LIKE: Final = {"a": "а", "e": "е", "o": "о", "i": "і", "c": "с", "p": "р"}  # noqa: RUF001 - look-alikes are what is measured
_MINUTE: Final = 60_000


class Cell:
    """A keyed value."""

    def __init__(self) -> None:
        self._value: bytes | None = None

    def value(self) -> bytes | None:
        return self._value

    def update(self, value: bytes) -> None:
        self._value = value

    def clear(self) -> None:
        self._value = None


def disguised(text: str, rng: random.Random) -> str:
    """Capitals, look-alikes, invisible characters and drawn-out letters."""
    made = []
    for letter in text:
        draw = rng.random()
        if draw < 0.1:
            made.append(_LOOKS_LIKE.get(letter, letter))
        elif draw < 0.3:
            made.append(letter.upper())
        elif draw < 0.33 and letter.isalpha():
            made.append(letter + "\u200b")
        else:
            made.append(letter)
    return "".join(made)


def edited(share: float) -> Callable[[str, random.Random], str]:
    """Replaces, drops or doubles that share of the words, at least one."""

    def edit(text: str, rng: random.Random) -> str:
        words = text.split()
        for place in rng.sample(range(len(words)), max(1, round(share * len(words)))):
            other = rng.choice(words)
            words[place] = rng.choice(["", other, f"{words[place]} {other}"])
        return " ".join(words)

    return edit


def framed(text: str, rng: random.Random) -> str:
    """Another greeting, another end, another number."""
    front = rng.choice(["hey", "hi all,", "look:", "friends!", "good news", "wow", ""])
    end = rng.choice(["thanks", "try it", "xoxo", "hurry up!", "see you", "lol", ""])
    return f"{front} {text} {end} {rng.randrange(10_000)}"


VERSIONS: Final[dict[str, Callable[[str, random.Random], str]]] = {
    "disguised": disguised,
    "framed": framed,
    "5 % of words": edited(0.05),
    "10 % of words": edited(0.1),
    "20 % of words": edited(0.2),
    "30 % of words": edited(0.3),
}


def told(texts: Iterator[str], config: CampaignsDocument) -> list[Crossing]:
    """What groups of copies tell, each text of a new account of its own, within a minute."""
    logic = CountLogic(config, Metrics())
    groups: dict[str, Cell] = {}
    found: list[Crossing] = []
    for number, text in enumerate(texts):
        content = text_content(text, config)
        if content is None:
            continue
        one = hash64(f"{number}")
        copy = Copy(
            one, one, 0, 1000, _MINUTE + number % _MINUTE, text, content.digest, content.print
        )
        for key in content.keys:
            crossing = logic.on_copy("text", copy, groups.setdefault(key, Cell()))
            if crossing is not None and representative(crossing, config) is not None:
                found.append(crossing)
    return found


@app.command()
def main(
    file: Annotated[Path, typer.Argument(help="CSV file of texts by different people.")],
    *,
    column: Annotated[str, typer.Option(help="That holds them.")] = "comment_text",
    plants: Annotated[int, typer.Option(min=1, help="Texts that are made campaigns of.")] = 100,
    config_file: Annotated[Path, typer.Option("--config", help="As the job's.")] = CONF
    / "campaigns.yaml",
) -> None:
    """Print one line of JSON for each figure."""
    csv.field_size_limit(sys.maxsize)
    config = load_campaigns(config_file)
    rng = random.Random(11)  # noqa: S311 - draws examples, guards nothing
    with file.open(newline="", encoding="utf-8") as opened:
        rows = [row[column] for row in csv.DictReader(opened)]
    found = told(iter(rows), config)
    shown = {
        normalise(each.content_id).text[:60]
        for crossing in found
        if (best := representative(crossing, config)) is not None
        for each in [best.copy]
    }
    say(what="strangers", texts=len(rows), campaigns=len(shown), begin=sorted(shown))
    usual = [text for text in rows if 60 <= len(text) <= 400]
    planted = rng.sample(usual, plants)
    for name, version in VERSIONS.items():
        hits = later = 0
        shares = []
        for text in planted:
            crossings = told((version(text, rng) for _ in range(20)), config)
            best = representative(crossings[-1], config) if crossings else None
            new = [sketch_of(normalise(version(text, rng)).text) for _ in range(5)]
            if best is not None:
                hits += 1
                near = [similarity(best.copy.print, each) for each in new if each]
                shares += near
                later += sum(share >= config.texts.similarity for share in near)
        say(
            what=name,
            campaigns=plants,
            told=hits,
            later_copies=5 * hits,
            known=later,
            mean_similarity=round(sum(shares) / max(len(shares), 1), 3),
        )


def say(**figures: object) -> None:
    """Print a line of JSON."""
    print(msgspec.json.encode(figures).decode(), flush=True)


if __name__ == "__main__":
    app()
