"""Control messages: configuration that reaches a running job, and what the job answers.

A message is keyed by what it configures (`rules`, `policy`, `switches`, `bank/scams`,
`model/fast_text`), so that the compacted topic keeps the newest of each. A tombstone takes the
message back: the job returns to the file that it was started with. Keys under `history/` keep
what was published before, for `show` and `rollback`; the job does not read them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Final, Literal

import msgspec

from schemas.errors import ConfigError

ControlKind = Literal[
    "rules", "policy", "communities", "switches", "bank", "media_bank", "model", "erase"
]
NAMED_KINDS: Final = frozenset({"bank", "media_bank", "model", "erase"})
"""Kinds of which there are several, told apart by a name."""
MODERATION: Final = "moderation"
"""The job that obeys every kind of message."""
HISTORY: Final = "history/"
MAX_BYTES: Final = 900_000
"""Largest message; a bank beyond it goes by a snapshot file that the message names."""


class ControlMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration, as text, exactly as its author wrote it."""

    kind: ControlKind
    name: str = ""
    text: str
    """The YAML document. Its hash identifies the message."""
    file: str = ""
    """Where the author had it, for error messages."""
    author: str = ""
    comment: str = ""
    published_at: dt.datetime

    @property
    def key(self) -> str:
        """Key of the record."""
        return control_key(self.kind, self.name)

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


class ControlAck(msgspec.Struct, frozen=True, kw_only=True):
    """One subtask's answer to one control message."""

    job: str = MODERATION
    """That the subtask is of; the feedback job answers erasures as well."""
    key: str
    digest: str
    """Digest of the message; empty for a tombstone."""
    ok: bool
    error: str
    """What was wrong, with file and line; empty where ok. The old configuration stays."""
    restored: bool
    """True where it was read back from state after a restart."""
    subtask: int
    subtasks: int
    applied: dict[str, str]
    """Hashes of everything that is in force on this subtask now."""
    timestamp: dt.datetime


def control_key(kind: str, name: str = "") -> str:
    """Key of a control message."""
    return f"{kind}/{name}" if name else kind


_decoder: Final = msgspec.json.Decoder(ControlMessage)


def decode_control(key: str, value: bytes) -> ControlMessage:
    """Read a control message and check it against its key.

    Raises:
        ConfigError: where it is not one.
    """
    try:
        message = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a control message: {error}", field=key) from None
    if (message.kind in NAMED_KINDS) != bool(message.name):
        wants = "needs" if message.kind in NAMED_KINDS else "takes no"
        raise ConfigError(f"kind {message.kind} {wants} name", field="name")
    if message.key != key:
        raise ConfigError(f"message for {message.key} under key {key}", field=key)
    return message
