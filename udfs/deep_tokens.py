"""Texts to windows of token ids, with the way back to characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from schemas.errors import ConfigError


class Tokens(NamedTuple):
    """One text as tokens, without special ones."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """Characters that each token came from, half-open."""


class TokenWindows:
    """Cuts texts into overlapping windows of at most `max_tokens`.

    Args:
        path: a `tokenizer.json`.
        max_tokens: of a window, special ones included.
        max_windows: of a text. A longer one is looked at in as many windows, spread evenly.

    Raises:
        ConfigError: the file is no tokenizer.
    """

    def __init__(self, path: Path, max_tokens: int, max_windows: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise ConfigError(f"is no tokenizer: {error}", file=str(path)) from None
        named = [self._tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>")]
        self._unknown = next((number for number in named if number is not None), -1)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        with_special = self._tokenizer.encode("a")
        special = with_special.special_tokens_mask
        first = special.index(0) if 0 in special else len(special)
        last = len(special) - special[::-1].index(0) if 0 in special else first
        self.before: list[int] = with_special.ids[:first]
        """Special tokens in front of a text."""
        self.after: list[int] = with_special.ids[last:]
        self.body = max_tokens - len(self.before) - len(self.after)
        """Most tokens of a text in one window."""
        if self.body < 2:
            raise ConfigError(f"no room for text in {max_tokens} tokens", file=str(path))
        self._max_windows = max_windows

    def tokens(self, text: str) -> Tokens:
        """All tokens of a text. Never fails: half of a surrogate pair reads as a question mark."""
        # One text at a time: the library's batches take every core there is.
        try:
            found = self._tokenizer.encode(text, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):  # what the library says to lone surrogates
            plain = text.encode("utf-8", "replace").decode("utf-8")
            found = self._tokenizer.encode(plain, add_special_tokens=False)
        return Tokens(found.ids, found.offsets)

    def knows(self, text: str) -> bool:
        """Whether no part of a text is an unknown token; plain ASCII is not looked at."""
        return text.isascii() or self._unknown not in self.tokens(text).ids

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, as `tokens` gives them.

        On as many cores as the library may use (`TOKENIZERS_PARALLELISM`).
        """
        try:
            found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            return [self.tokens(text).ids for text in texts]
        return [entry.ids for entry in found]

    def starts(self, length: int) -> list[int]:
        """Where the windows of a text of so many tokens begin; neighbours share half."""
        if length <= self.body:
            return [0]
        last = length - self.body
        starts = [*range(0, last, max(1, self.body // 2)), last]
        if len(starts) > self._max_windows:
            # Less overlap first; gaps only where even that does not reach.
            spread = np.linspace(0, last, self._max_windows).round().astype(int)
            starts = sorted(set(spread.tolist()))
        return starts

    def window(self, ids: list[int], start: int) -> list[int]:
        """The window that begins at token `start`, special tokens around it."""
        return [*self.before, *ids[start : start + self.body], *self.after]
