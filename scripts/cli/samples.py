"""Builds `conf/samples/uploads.jsonl` out of `conf/samples/sentences.yaml`.

    scripts/_run scripts.cli.samples [--check]

The same sentences always give the same file. `scripts.cli.upload_lines` says what the
fields that begin with `$` mean; `$kind` tells what a line was made to show.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.settings import CONF

SOURCE: Final = CONF / "samples/sentences.yaml"
UPLOADS: Final = CONF / "samples/uploads.jsonl"
MEDIA_URIS: Final = "s3://uploads/"
"""How the sample uploads name their media."""
MEDIA_BANKS: Final = CONF / "samples/media_banks.yaml"
"""Knows one of them."""

_SEED: Final = 20_240_229
_SPAN_S: Final = 90.0
"""The file tells of this many seconds, the last upload being now."""
_FLOOD_SIZE: Final = 45
_FIRST_NAMES: Final = (
    *("ada", "ben", "chen", "dora", "emil", "fatma", "goran", "hana", "igor", "juno", "kofi"),
    *("lena", "milo", "nadia", "omar", "pia", "quentin", "rosa", "sami", "tess", "umar", "vera"),
    *("wim", "xenia", "yuki", "zoe"),
)

Upload = dict[str, Any]


class _Builder:
    """Hands out users, threads and ids while the lines are put together."""

    def __init__(self, sentences: dict[str, Any]) -> None:
        self.sentences = sentences
        self.random = random.Random(_SEED)  # noqa: S311 - a repeatable file, no secret
        self.communities = sorted(sentences["clean"])
        self.users = [f"{name}-{n}" for n in range(1, 8) for name in _FIRST_NAMES]

    def upload(self, kind: str, text: str | None, **fields: Any) -> Upload:
        """One upload by some user; `fields` win over what is drawn."""
        draw = self.random
        user = fields.pop("user_id", None) or draw.choice(self.users)
        community = fields.pop("community_id", None) or draw.choice(self.communities)
        upload: Upload = {
            "$kind": kind,
            "content_id": "",
            "content_type": "text",
            "user_id": user,
            "created_at": "",
            "community_id": community,
            "account": _account(user),
        }
        if text is not None:
            upload["text"] = text
        if draw.random() < 0.6:
            upload["thread_id"] = f"{community}-{draw.randint(1, 6)}"
        if draw.random() < 0.4:
            upload["language"] = "en"
        if draw.random() < 0.1:
            upload["is_public"] = False
        if draw.random() < 0.2:
            views = int(10 ** draw.uniform(0, 4.5))
            upload["engagement"] = {"views": views, "shares": views // 40}
        if draw.random() < 0.1:
            # Producers may send what they like besides; it is kept.
            upload["client"] = {"app": draw.choice(["web", "ios", "android"]), "build": 412}
        return upload | fields


def _account(user: str) -> dict[str, Any]:
    """Facts about an account that depend on the user's name alone."""
    facts = random.Random(user)  # noqa: S311 - repeatable
    if facts.random() < 0.08:
        return {"created_at": f"-{facts.randint(600, 80_000)}s", "followers": facts.randint(0, 3)}
    year, month, day = facts.randint(2011, 2025), facts.randint(1, 12), facts.randint(1, 28)
    return {
        "created_at": f"{year}-{month:02}-{day:02}T{facts.randint(0, 23):02}:00:00Z",
        "verified": facts.random() < 0.15,
        "followers": int(10 ** facts.uniform(0, 4)),
    }


def _texts(build: _Builder) -> Iterator[Upload]:
    """Clean texts and abuse, in several languages."""
    sentences = build.sentences
    for community, texts in sentences["clean"].items():
        for text in texts:
            yield build.upload("clean", text, community_id=community)
    for text in sentences["hard_clean"]:
        yield build.upload("hard_clean", text)
    for category, texts in sentences["abuse"].items():
        for text in texts:
            reports = build.random.choice([0, 0, 0, 1, 4])
            yield build.upload(
                category, text, engagement={"views": 200, "shares": 1, "reports": reports}
            )
    for text in sentences["evasion"]:
        yield build.upload("evasion", text)
    for section, kind in (("languages", "clean"), ("abuse_languages", "abuse_other_language")):
        for language, texts in sentences[section].items():
            for text in texts:
                # Half of the producers declare the language.
                declared = {"language": language} if build.random.random() < 0.5 else {}
                made = build.upload(kind, text, community_id=f"{language}-general")
                made.pop("language", None)
                yield made | declared


def _media(build: _Builder) -> Iterator[Upload]:
    """Images and videos: a caption, and where the bytes are."""
    endings = {"image": ("jpg", "png", "webp"), "video": ("mp4", "webm")}
    for content_type, captions in build.sentences["captions"].items():
        for number, caption in enumerate(captions):
            ending = build.random.choice(endings[content_type])
            yield build.upload(
                "media",
                caption or None,
                content_type=content_type,
                media_uri=f"{MEDIA_URIS}{content_type}s/{number:04}.{ending}",
            )


def _flood(build: _Builder) -> list[Upload]:
    """One new account that says nearly the same again and again, in many communities."""
    texts = build.sentences["flood"]
    return [
        build.upload(
            "flood",
            f"{texts[number % len(texts)]}{' ' * (number % 4)}",
            user_id="coinking-1",
            account={"created_at": "-900s", "followers": 0},
        )
        for number in range(_FLOOD_SIZE)
    ]


def _chatty(build: _Builder) -> list[Upload]:
    """One old account that writes many short messages: busy, not spam."""
    return [
        build.upload(
            "chatty", text, user_id="pia-2", community_id="sports", thread_id="sports-chat"
        )
        for text in build.sentences["chatty"]
    ]


def _known(build: _Builder) -> Iterator[Upload]:
    """Copies of what the default banks know, as they are and slightly dressed up."""
    for text in build.sentences["known_bad"].values():
        yield build.upload("known_bad", text)
        yield build.upload("known_bad", f"  {text.upper()} ")


def _keys(build: _Builder) -> Iterator[Upload]:
    """Records whose key is missing, or not the user's id."""
    yield build.upload("odd_key", "Posted by a producer that sets no key.") | {"$key": None}
    yield build.upload("odd_key", "Posted by a producer that keys by thread.") | {"$key": "t-17"}


def _malformed() -> Iterator[Upload]:
    """Payloads that cannot be moderated, one for every way to be wrong."""
    good: Upload = {
        "$kind": "malformed",
        "content_id": "malformed",
        "content_type": "text",
        "user_id": "ada-1",
        "created_at": "2024-05-05T12:00:00Z",
        "text": "A good text in a bad wrapper.",
        "account": {"followers": 12},
    }

    def but(**changes: Any) -> Upload:
        return good | changes

    for name in ("content_id", "user_id", "created_at", "content_type", "text"):
        yield {field: value for field, value in good.items() if field != name}
    yield but(text=42)
    yield but(text=None)
    yield but(content_id="")
    yield but(content_id=17)
    yield but(content_id="x" * 300)
    yield but(user_id=["ada-1"])
    yield but(content_type="audio")
    yield but(content_type="image")
    yield but(created_at="yesterday")
    yield but(created_at="2024-05-05T12:00:00")
    yield but(created_at=1_714_910_400)
    yield but(is_public="yes")
    yield but(priority=11)
    yield but(engagement={"views": -3})
    yield but(account={"followers": "many"})
    yield but(**{"$extra": {"a": 1}})
    yield but(**{"$pad_bytes": 300_000})
    yield but(**{"$pad_bytes": 60_000})
    plain = json.dumps({name: value for name, value in good.items() if name[0] != "$"})
    for raw in (
        b"this is not JSON",
        plain[:-30].encode(),
        plain.encode() + b"}",
        plain.encode("utf-16"),
        plain.encode().replace(b"good", b"caf\xe9"),
        plain.replace("A good", "\\ud800 half").encode(),
        plain.encode()[:-1] + b', "unknown_field": "\xe9"}',
        plain.encode()[:-1] + b', "unknown_field": 1e999}',
        b"[1, 2, 3]",
        b"null",
        b"\x00\x01\x02\x03\xff\xfe",
        b" ",
        b"[" * 2_000 + b"]" * 2_000,
        b'{"a":' * 60 + b"1" + b"}" * 60,
        plain.replace('"account": {', '"account": [').encode(),
    ):
        yield {"$kind": "malformed", "$raw": base64.b64encode(raw).decode()}


def build(sentences: dict[str, Any]) -> list[Upload]:
    """Put the lines together.

    Args:
        sentences: the content of `sentences.yaml`.

    Returns:
        The lines in the order in which they are published.
    """
    builder = _Builder(sentences)
    lines = [*_texts(builder), *_media(builder), *_known(builder), *_keys(builder)]
    builder.random.shuffle(lines)
    _spread(builder, lines, _flood(builder), begin=0.35, end=0.6)
    _spread(builder, lines, _chatty(builder), begin=0.5, end=0.7)
    _number(builder, lines)
    _again(builder, lines)
    _spread(builder, lines, list(_malformed()), begin=0.02, end=0.98)
    return lines


def _spread(
    build: _Builder, lines: list[Upload], more: list[Upload], *, begin: float, end: float
) -> None:
    """Put lines between the others, in their order, within a stretch of the file."""
    total = len(lines)
    places = sorted(
        build.random.randint(int(begin * total), int(end * total)) for _ in range(len(more))
    )
    for shift, (place, line) in enumerate(zip(places, more, strict=True)):
        lines.insert(place + shift, line)


def _number(build: _Builder, lines: list[Upload]) -> None:
    """Give ids and times, and let some answer others."""
    by_thread: dict[str, str] = {}
    for number, line in enumerate(lines):
        line["content_id"] = f"sample-{number:04}"
        age = _SPAN_S * (1 - number / len(lines))
        draw = build.random.random()
        if draw < 0.05:
            age += build.random.uniform(5, 400)  # a phone that was offline
        elif draw < 0.07:
            age = -build.random.uniform(1, 20)  # a clock that runs fast
        line["created_at"] = f"{-age:.1f}s"
        thread = line.get("thread_id")
        if thread is not None:
            if thread in by_thread and build.random.random() < 0.5:
                line["parent_content_id"] = by_thread[thread]
            by_thread[thread] = line["content_id"]


def _again(build: _Builder, lines: list[Upload]) -> None:
    """Deliver some uploads twice, some of them much later, and edit a few."""
    kinds = ("clean", "toxicity", "evasion", "flood", "media")
    candidates = [n for n, line in enumerate(lines[: len(lines) // 2]) if line["$kind"] in kinds]
    for number, place in enumerate(sorted(build.random.sample(candidates, 20), reverse=True)):
        line = lines[place]
        later = 1 if number % 3 else build.random.randint(20, 200)
        if number % 5 == 4 and line["content_type"] == "text":
            edited = line | {"revision": 1, "text": f"{line['text']} (edited)", "$kind": "edit"}
            lines.insert(place + later, edited)
        else:
            lines.insert(place + later, line | {"$kind": "redelivered"})


def render(lines: list[Upload]) -> str:
    """Write the lines as the file holds them."""
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def load_sentences(path: Path = SOURCE) -> dict[str, Any]:
    """Read the sentences."""
    document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return document


def main() -> None:
    """Write the file, or check that it is what the sentences give."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    arguments = parser.parse_args()
    text = render(build(load_sentences()))
    if not arguments.check:
        UPLOADS.write_text(text, "utf-8")
        print(f"{len(text.splitlines())} lines in {UPLOADS}")
    elif UPLOADS.read_text("utf-8") != text:
        sys.exit(f"{UPLOADS} is not what {SOURCE} gives; run scripts/_run scripts.cli.samples")


if __name__ == "__main__":
    main()
