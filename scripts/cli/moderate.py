"""Moderate JSONL uploads with no Kafka, no Redis and no Flink: the same cascade, one line each.

Each input line gives one output line, in order: `{"decision": ..., "review": ...}` or
`{"dead_letter": ...}`. Velocity is counted per user over the file, by event time.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import msgspec
import typer

from operators.compose import compose_cascade
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic, Record
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.errors import SluiceError
from schemas.features import SINGLE
from schemas.settings import ROOT, Settings, load_settings, unhurried
from schemas.trust import load_trust
from scripts.cli.upload_lines import UploadLineError, parse_line, read_lines

app = typer.Typer(add_completion=False, help=__doc__)

_BATCH: Final = 256


class _Keyed(msgspec.Struct):
    user_id: str = ""


_user_decoder: Final = msgspec.json.Decoder(_Keyed)


class _Memory:
    """Keyed state in a dict, for a run that ends with the file."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.key = ""

    def value(self) -> bytes | None:
        return self.values.get(self.key)

    def update(self, value: bytes) -> None:
        self.values[self.key] = value

    def clear(self) -> None:
        self.values.pop(self.key, None)


@app.command()
def main(
    file: Annotated[str, typer.Argument(help="JSONL uploads, or - for standard input.")],
    out: Annotated[Path | None, typer.Option(help="Write here instead of standard output.")] = None,
    profile: Annotated[str, typer.Option(help="Profile in conf/profiles, or a file.")] = "dev",
    all_records: Annotated[
        bool, typer.Option("--all", help="Every record of an upload, not the decision alone.")
    ] = False,
) -> None:
    """Moderate a file of uploads; exit 0 if each line got an answer."""
    try:
        settings = load_settings(profile)
        settings = unhurried(settings).model_copy(
            update={"redis": settings.redis.model_copy(update={"enabled": False})}
        )
        source = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115 - closed with the process
        sink = sys.stdout.buffer if out is None else out.open("wb")
        with source, sink:
            moderate_lines(source, sink, settings, all_records=all_records)
    except (SluiceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def moderate_lines(
    source: BinaryIO, sink: BinaryIO, settings: Settings, *, all_records: bool = False
) -> None:
    """Answer every non-empty line of `source` with a line of `sink`."""
    topics = settings.topics
    names = {
        topics.decisions: "decision",
        topics.review: "review",
        topics.feedback: "feedback",
        topics.enforcement: "enforcement",
        topics.audit: "audit",
        topics.dead_letters: "dead_letter",
    }
    for answers in _answers(source, settings):
        document: dict[str, Any] = {}
        for record in answers:
            name = names[record.topic]
            if all_records or name in {"decision", "dead_letter"}:
                value = msgspec.Raw(record.value)
                if name == "feedback":
                    document.setdefault(name, []).append(value)
                else:
                    document[name] = value
        sink.write(msgspec.json.encode(document) + b"\n")


def _answers(source: BinaryIO, settings: Settings) -> Iterator[Sequence[Record]]:
    logic = ModerationLogic(
        compose_cascade(settings),
        settings.topics,
        velocity=VelocityConfig.of(settings.velocity),
        max_batch=_BATCH,
        now_ms=_now_ms,
        metrics=Metrics(),
        check_key=False,
        trust=load_trust(ROOT / settings.cascade.trust),
    )
    state = _Memory()
    waiting: list[tuple[str, Sequence[Record]]] = []
    base = dt.datetime.now(dt.UTC)
    for number, text in enumerate(read_lines(source)):
        raw = _payload(text, base)
        state.key = _user_of(raw)
        arrived = Arrived(raw, "file", 0, number, int(_now_ms()), SINGLE)
        waiting.append((state.key, logic.on_record(state.key, arrived, state)))
        if len(waiting) == _BATCH:
            yield from _in_order(logic, state, waiting)
            waiting = []
    yield from _in_order(logic, state, waiting)


def _in_order(
    logic: ModerationLogic, state: _Memory, waiting: Sequence[tuple[str, Sequence[Record]]]
) -> Iterator[Sequence[Record]]:
    """Answers of a batch, line by line: a dead letter at once, the rest from its user's tick."""
    by_user: dict[str, Iterator[Sequence[Record]]] = {}
    for user, at_once in waiting:
        if at_once:
            yield at_once
            continue
        if user not in by_user:
            state.key = user
            by_user[user] = iter(logic.on_tick(user, state))
        yield next(by_user[user])


def _payload(text: bytes, base: dt.datetime) -> bytes:
    """The upload that a line stands for; a line that means nothing is judged as it is."""
    try:
        return parse_line(text, base=base).value
    except UploadLineError:
        return text


def _user_of(raw: bytes) -> str:
    try:
        return _user_decoder.decode(raw).user_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _now_ms() -> float:
    return time.time() * 1000


if __name__ == "__main__":
    app()
