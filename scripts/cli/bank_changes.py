"""Changes of media banks: made on disk, and published to running jobs."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from PIL import Image
from pydantic import ValidationError

from schemas.control import ControlMessage
from schemas.errors import ConfigError
from schemas.media_banks import KINDS, MediaBankDelta, MediaBankSpec
from schemas.settings import load_settings
from schemas.yaml_source import FaultError, YamlSource
from scripts.cli.bank_store import BankStore, delta_text
from scripts.cli.control_topic import ControlTopic, now
from udfs.image_hashes import pdq_hashes, phashes
from udfs.live_index import LiveIndex


def hash_of_picture(picture: Path, spec: MediaBankSpec) -> str:
    """Hash of a picture as a bank has it, in hex.

    Raises:
        ConfigError: it cannot be read, has too little structure, or the bank takes no pictures.
    """
    sides = {"phash64": 8, "phash256": 16}
    try:
        with Image.open(picture) as opened:
            if spec.kind in sides:
                return phashes(opened, sides[spec.kind], variants=False)[0].hex()
            (digest,), quality = pdq_hashes(opened, variants=False)
    except (OSError, Image.DecompressionBombError) as error:
        raise ConfigError(f"is no picture that can be read: {error}", file=str(picture)) from None
    if spec.kind != "pdq":
        raise ConfigError(f"a picture has no {spec.kind} hash; give --hash")
    if quality < spec.min_quality:
        raise ConfigError(
            f"has PDQ quality {quality}, below {spec.min_quality}: it would match what it is not",
            file=str(picture),
        )
    return digest.hex()


def empty_index(spec: MediaBankSpec) -> LiveIndex:
    """An index for a bank's kind of hash, without entries."""
    facts = KINDS[spec.kind]
    return LiveIndex.build(b"", [], bits=facts.bits, distance=facts.distance)


def delta_of(body: dict[str, Any]) -> MediaBankDelta:
    """A delta from its fields.

    Raises:
        ConfigError: naming the field that is wrong.
    """
    return YamlSource(delta_text(body)).validate(MediaBankDelta)


def changed(delta: MediaBankDelta, spec: MediaBankSpec | None) -> MediaBankSpec:
    """What a bank says about itself after a delta.

    Raises:
        ConfigError: naming the field that is wrong.
    """
    try:
        return delta.changed(spec)
    except FaultError as fault:
        raise ConfigError(str(fault), field=".".join(map(str, fault.path))) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(first["msg"], field=".".join(map(str, first["loc"]))) from None


def change(store: BankStore, body: dict[str, Any]) -> None:
    """Lay a delta over a bank and write it."""
    delta = delta_of(body)
    bank = delta.media_bank
    spec = changed(delta, store.spec(bank))
    live = store.load(bank)
    for name in delta.withdraw:
        live.withdraw(name)
    for entry in delta.add:
        raw = bytes.fromhex(entry.hash)
        if not any(hit.name == entry.id for hit in live.search(raw, distance=0, limit=1024)[0]):
            live.add(raw, [entry.id])
    disputed = [entry.id for entry in delta.add if entry.status == "disputed"]
    for name in (*delta.dispute, *disputed):
        live.dispute(name)
    for name in delta.confirm:
        live.dispute(name, disputed=False)
    store.write(spec, live)


def publish_deltas(
    profile: str,
    bank: str,
    bodies: Sequence[dict[str, Any]],
    timeout: float,
    *,
    whole: bool = False,
) -> None:
    """Publish deltas and wait for every subtask; leave with 1 unless all accepted.

    Args:
        profile: names broker and topics.
        bank: the bank.
        bodies: the deltas.
        timeout: seconds to wait for the answers to each.
        whole: the delta names a snapshot of all entries: earlier ones of the bank go.
    """
    settings = load_settings(profile)
    refused = False
    with ControlTopic(settings) as topic:
        earlier = [key for key in topic.read().current if key.startswith(f"media_bank/{bank}.")]
        for body in bodies:
            moment = now()
            name = f"{bank}.{moment:%Y%m%dT%H%M%S%f}"
            message = ControlMessage(
                kind="media_bank", name=name, text=delta_text(body), file=f"banks/{bank}",
                author=getpass.getuser(), published_at=moment,
            )  # fmt: skip
            topic.publish(message)
            replies = topic.wait(message.key, message.digest, timeout)
            for ack in replies.acks:
                said = "in force" if ack.ok else f"REFUSED: {ack.error}"
                print(f"subtask {ack.subtask + 1}/{ack.subtasks}: {said} ({ack.digest})")
            if not replies.complete:
                print(
                    f"error: {len(replies.acks)} of {replies.subtasks or 'no'} subtasks answered"
                    f" within {timeout:g} s; a job that starts later will read it",
                    file=sys.stderr,
                )
            refused |= not replies.complete or not all(ack.ok for ack in replies.acks)
        if whole and not refused:
            for key in earlier:
                topic.withdraw(key)
    if refused:
        raise typer.Exit(1)
