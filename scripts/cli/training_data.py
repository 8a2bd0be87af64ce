"""Labelled texts for the fast text tier: public sets mapped to the model's categories.

A label is 1, 0, or unknown (NaN) where a set says nothing; unknown labels take no part in the
loss. What each set is taken to say stands in its reader below, and in the model card.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from schemas.categories import TEXT_CATEGORIES

_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?]*")
_IRC_LINE: Final = re.compile(r"^\[\d\d:\d\d\] <[^>]+> (?:[^\s:]{1,20}: )?(.{12,})$")
_ADVERSARIAL: Final = {"toxicity": 1.5, "hate_speech": 3.0, "threat": 3.0}
"""What hatemoji's rows, few and hard, weigh more by category: about hate there is little else."""
_HATE_VOTES: Final = ("homophobia", "racism", "misogyny", "xenophobia")


class Source(NamedTuple):
    """One set of labelled texts: what it is and how much its rows weigh in the loss."""

    name: str
    about: str
    licence: str
    weight: float
    path: str


SOURCES: Final = (
    Source(
        "jigsaw_natural",
        "Wikipedia talk comments at natural prevalence (Jigsaw)",
        "CC0 data, CC-BY-SA 3.0 text",
        1.0,
        "jigsaw/binary_natural_prevalence.csv",
    ),
    Source(
        "jigsaw_six_label",
        "Wikipedia talk comments with six labels (Jigsaw), enriched",
        "CC0 data, CC-BY-SA 3.0 text",
        1.0,
        "jigsaw/six_label.csv",
    ),
    Source(
        "toxic_spans",
        "Civil Comments with typed toxic spans, used sentence by sentence",
        "CC0",
        0.2,
        "toxic_spans/comments.csv",
    ),
    Source(
        "davidson",
        "Tweets: hate, offensive, neither (Davidson et al. 2017); sampled by lexicon",
        "MIT",
        0.15,
        "davidson/labeled_data_dev.csv",
    ),
    Source(
        "edos",
        "Reddit and Gab texts on sexism (EDOS, SemEval-2023 task 10)",
        "CC0",
        0.25,
        "edos/edos_train_dev.csv",
    ),
    Source(
        "hatemoji",
        "Adversarial hate with emoji, in contrasting pairs (HatemojiBuild)",
        "CC-BY 4.0",
        0.15,
        "hatemoji/HatemojiBuild_train.csv",
    ),
    Source("told_br", "Brazilian Portuguese tweets (ToLD-Br)", "CC-BY-SA 4.0", 0.25, "told_br"),
    Source("sms_spam", "SMS, spam or ham (UCI)", "CC-BY 4.0", 1.0, "sms_spam/sms.csv"),
    Source("youtube_spam", "YouTube comments, spam or not (UCI)", "CC-BY 4.0", 1.0, "youtube_spam"),
    Source(
        "irc_chat",
        "#ubuntu chat, presumed harmless",
        "CC-BY 4.0",
        0.15,
        "irc_chat/train",
    ),
)
"""Every set that is read, in reading order. All allow trained weights to be published."""

TEMPLATES: Final = Source(
    "templates", "Sentences written by this project from patterns", "Apache-2.0", 0.5, ""
)


class Example(msgspec.Struct, frozen=True):
    """One labelled text, as its set has it."""

    text: str
    source: str
    labels: dict[str, int]
    """Category to 1 or 0; a category that is not there is unknown."""
    weight: float
    pattern: str = ""
    """The pattern that the text was filled from, for templates."""
    emphasis: dict[str, float] = {}
    """What multiplies the weight, by category."""
    presumed: tuple[str, ...] = ()
    """Categories whose 0 nobody labelled: the kind of text makes it likely."""
    votes: dict[str, tuple[int, int]] = {}
    """By category: raters who saw it, raters in all; where the set tells."""
    subset: str = ""
    """Part of the set (a file, a video), for a holdout by origin."""
    link: str = ""
    """Texts that share one were made from each other."""
    content_id: str = ""
    """Of what a user of the platform wrote."""
    time: str = ""
    """When it was posted (ISO 8601), where the set tells."""
    language: str = "en"


def read_all(folder: Path, *, irc_rows: int = 12_000) -> Iterator[Example]:
    """All examples of the public sets under `folder`.

    Args:
        folder: holds one folder per set.
        irc_rows: most chat lines taken (evenly spread over the files).

    Raises:
        FileNotFoundError: a set is not there.
    """
    csv.field_size_limit(sys.maxsize)
    for source in SOURCES:
        if source.name == "irc_chat":
            yield from _irc(source, folder, irc_rows)
        else:
            yield from _READERS[source.name](source, folder)


def missing(folder: Path) -> list[str]:
    """Sets that are not under `folder`."""
    return [source.name for source in SOURCES if not (folder / source.path).exists()]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _jigsaw_natural(source: Source, folder: Path) -> Iterator[Example]:
    # Not toxic implies neither hateful nor threatening; of a toxic one we know no more.
    for row in _rows(folder / source.path):
        yield _wikipedia(row["comment_text"], source, {"toxicity": int(row["labels"])})


def _jigsaw_six(source: Source, folder: Path) -> Iterator[Example]:
    # `obscene` means profanity here, not sexual content: it is not used.
    for row in _rows(folder / source.path):
        labels = {
            "toxicity": int(row["toxic"]),
            "hate_speech": int(row["identity_hate"]),
            "threat": int(row["threat"]),
        }
        yield _wikipedia(row["comment_text"], source, labels)


def _wikipedia(text: str, source: Source, labels: dict[str, int]) -> Example:
    presumed = ("sexual", "self_harm", "spam")
    if labels["toxicity"] == 0:
        labels = {"hate_speech": 0, "threat": 0, **labels}
    return _example(text, source, labels, presumed)


def _toxic_spans(source: Source, folder: Path) -> Iterator[Example]:
    # The comments were chosen for being toxic, so a label per comment would teach the topic.
    # Sentences that two raters marked are toxic; those that none marked are not.
    root = folder / "toxic_spans"
    comment_of = {r["annotation"]: r["comment_id"] for r in _rows(root / "annotations.csv")}
    raters_of = Counter(comment_of.values())
    marks: dict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
    for row in _rows(root / "spans.csv"):
        comment = comment_of.get(row["annotation"])
        if comment is not None:
            mark = (row["annotation"], row["type"], int(row["start"]), int(row["end"]))
            marks[comment].append(mark)
    for row in _rows(folder / source.path):
        found = marks[row["comment_id"]]
        if len({rater for rater, *_ in found}) < 2:
            continue
        raters = raters_of[row["comment_id"]]
        for sentence in _SENTENCE.finditer(row["comment_text"]):
            start, end = sentence.span()
            if end - start < 12:
                continue
            hit = [(rater, kind) for rater, kind, s, e in found if s < end and e > start]
            labels = _votes(hit)
            if labels:
                votes = {"toxicity": (len({rater for rater, _ in hit}), raters)}
                example = _example(sentence.group().strip(), source, labels)
                yield replace(example, votes=votes, link=f"toxic_spans/{row['comment_id']}")


def _votes(hit: list[tuple[str, str]]) -> dict[str, int]:
    if not hit:
        return {"toxicity": 0, "hate_speech": 0, "threat": 0}
    labels = {"toxicity": 1} if len({rater for rater, _ in hit}) >= 2 else {}
    for category, prefix in (("hate_speech", "Identity"), ("threat", "Threat")):
        raters = {rater for rater, kind in hit if kind.startswith(prefix)}
        if len(raters) != 1:
            labels[category] = int(len(raters) >= 2)
    return labels


def _davidson(source: Source, folder: Path) -> Iterator[Example]:
    for row in _rows(folder / source.path):
        kind = row["class"]
        labels = {"toxicity": int(kind != "2"), "hate_speech": int(kind == "0")}
        if kind == "2":
            labels["threat"] = 0
        raters, hate = int(row["count"]), int(row["hate_speech"])
        offensive = int(row["offensive_language"])
        votes = {"toxicity": (hate + offensive, raters), "hate_speech": (hate, raters)}
        example = _example(row["tweet"], source, labels, ("self_harm",) if kind == "2" else ())
        yield replace(example, votes=votes)


def _edos(source: Source, folder: Path) -> Iterator[Example]:
    # Says whether a text is sexist, no more: the rest may be abusive in other ways, so its
    # toxicity is unknown, and that it is neither hateful nor a threat is presumed. The
    # mildest kinds (backhanded compliments, unwelcome advice) are left out.
    for row in _rows(folder / source.path):
        vector = row["label_vector"][:3]
        if row["label_sexist"] == "not sexist":
            labels = {}
            presumed: tuple[str, ...] = ("hate_speech", "threat", "self_harm")
        elif vector in {"3.3", "3.4"}:
            continue
        else:
            labels = {"hate_speech": 1, "threat": int(vector[0] == "1")}
            presumed = ()
            if vector[0] in "12":
                labels["toxicity"] = 1
        yield _example(row["text"], source, labels, presumed)


def _hatemoji(source: Source, folder: Path) -> Iterator[Example]:
    for name in ("HatemojiBuild_train.csv", "HatemojiBuild_validation.csv"):
        for row in _rows(folder / "hatemoji" / name):
            hate = int(row["label_gold"])
            labels = {
                "toxicity": hate,
                "hate_speech": hate,
                "threat": int(row["type"] == "threateninglanguage"),
            }
            pair = "-".join(sorted((row["entry_id"], row["matched_id"])))
            yield replace(
                _example(row["text"], source, labels),
                emphasis=_ADVERSARIAL,
                subset=name.removesuffix(".csv").rpartition("_")[2],
                link=f"hatemoji/{pair}",
            )


def _told_br(source: Source, folder: Path) -> Iterator[Example]:
    # A label counts from two of three raters; from one it is unknown.
    for row in _rows(folder / "told_br/ToLD-BR_alpha.csv"):
        said = {
            kind: [float(row[f"{kind}_{rater}"] or 0) > 0 for rater in (1, 2, 3)]
            for kind in (*_HATE_VOTES, "obscene", "insult")
        }
        votes = {kind: sum(own) for kind, own in said.items()}
        labels = {}
        for category, most in (
            ("toxicity", max(votes.values())),
            ("hate_speech", max(votes[kind] for kind in _HATE_VOTES)),
        ):
            if most != 1:
                labels[category] = int(most >= 2)
        presumed: tuple[str, ...] = ()
        if not any(votes.values()):
            presumed = ("threat", "sexual", "self_harm", "spam")
        if labels:
            any_of = {
                "toxicity": sum(map(any, zip(*said.values(), strict=True))),
                "hate_speech": sum(
                    map(any, zip(*(said[kind] for kind in _HATE_VOTES), strict=True))
                ),
            }
            yield replace(
                _example(row["text"], source, labels, presumed),
                votes={category: (number, 3) for category, number in any_of.items()},
                language="pt",
            )


def _sms(source: Source, folder: Path) -> Iterator[Example]:
    for row in _rows(folder / source.path):
        yield _example(row["text"], source, {"spam": int(row["label"] == "spam")})


def _youtube(source: Source, folder: Path) -> Iterator[Example]:
    for path in sorted((folder / source.path).glob("*.csv")):
        for row in _rows(path):
            yield replace(
                _example(row["CONTENT"], source, {"spam": int(row["label"])}),
                subset=path.stem,
                time=row["DATE"],
            )


def _irc(source: Source, folder: Path, most: int) -> Iterator[Example]:
    files = sorted((folder / source.path).glob("*.raw.txt"))
    share = -(-most // len(files)) if files else 0
    for path in files:
        lines = path.read_text("utf-8", "replace").splitlines()
        found = [match.group(1) for match in map(_IRC_LINE.match, lines) if match]
        for text in found[:: max(1, len(found) // share)][:share]:
            yield _example(text, source, {}, TEXT_CATEGORIES)


_READERS: Final[dict[str, Callable[[Source, Path], Iterator[Example]]]] = {
    "jigsaw_natural": _jigsaw_natural,
    "jigsaw_six_label": _jigsaw_six,
    "toxic_spans": _toxic_spans,
    "davidson": _davidson,
    "edos": _edos,
    "hatemoji": _hatemoji,
    "told_br": _told_br,
    "sms_spam": _sms,
    "youtube_spam": _youtube,
}


def _example(
    text: str, source: Source, labels: dict[str, int], presumed: tuple[str, ...] = ()
) -> Example:
    # A presumption never stands against a label.
    presumed = tuple(category for category in presumed if category not in labels)
    return Example(text, source.name, labels, source.weight, presumed=presumed)
