"""Which languages a text could be in, compiled: scripts by their letters, then naive Bayes.

The model is py3langid's: an automaton over the bytes of a text names the features that are
there, and each has a log-likelihood in every language. Only the languages of the text's main
script are looked at, so that a Cyrillic text is compared with a dozen columns, not with all.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from udfs.compiled import BYTES, compiled

HAN: Final = 1
KANA: Final = 2
HANGUL: Final = 3
"""Numbers of scripts that the code here treats apart; 0 is no script at all."""
SCRIPTS: Final = 40
"""Room for so many scripts."""

MIXED_SHARE: Final = 0.2
"""A script with this share of the letters counts beside the main one, if it has `MIXED_LEAST`."""
MIXED_LEAST: Final = 4
_WIDE: Final = 2
"""Letters of an alphabet that a character of Chinese, Japanese or Korean writing stands for."""
_KANA_SHARE: Final = 0.05
"""Japanese writing has at least so many kana among its characters; Chinese has none."""
_PLANES: Final = 0x20000
_BEYOND: Final = 0x40000

_I: Final = numba.int64
_F: Final = numba.float64
_INTS: Final = numba.types.Array(numba.int64, 1, "C")
_NARROW: Final = numba.types.Array(numba.int32, 1, "C")
_BYTE_TABLE: Final = numba.types.Array(numba.uint8, 1, "C")
_FLOATS: Final = numba.types.Array(numba.float64, 1, "C")
_SUMS: Final = numba.types.Array(numba.float32, 1, "C")
_TABLE: Final = numba.types.Array(numba.int16, 2, "C")


@compiled(_I(BYTES, _I, _I, _BYTE_TABLE, _INTS))
def count_scripts(data: Any, start: Any, stop: Any, script_of: Any, letters: Any) -> Any:
    """Count the letters of each script in UTF-8; gives how many bytes stand in letters."""
    letters[:] = 0
    inside = 0
    at = start
    while at < stop:
        lead = np.int64(data[at])
        size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        code = lead if size == 1 else lead & (0x7F >> size)
        for k in range(at + 1, min(at + size, stop)):
            code = (code << 6) | (np.int64(data[k]) & 0x3F)
        script = np.int64(script_of[code] if code < _PLANES else 0)
        if _PLANES <= code < _BEYOND:
            script = np.int64(HAN)
        if script:
            letters[script] += _WIDE if script <= HANGUL else 1
            inside += size
        at += size
    # Kana make the Chinese characters beside them Japanese.
    if letters[KANA] >= _KANA_SHARE * (letters[KANA] + letters[HAN]) and letters[KANA]:
        letters[KANA] += letters[HAN]
        letters[HAN] = 0
    return inside


@compiled(_I(BYTES, _I, _I, _NARROW, _NARROW, _NARROW, _NARROW, _INTS))
def _collect(
    data: Any, start: Any, stop: Any, moves: Any, rows: Any, outs: Any, times: Any, found: Any
) -> Any:
    """Walk the automaton; gives how many features were found, `times[feature]` says how often."""
    state = 0
    count = 0
    for at in range(start, stop):
        state = moves[(np.int64(rows[state]) << 8) + np.int64(data[at])]
        feature = outs[state]
        if feature >= 0:
            if times[feature] == 0:
                found[count] = feature
                count += 1
            times[feature] += 1
    return count


@compiled(_I(_I, _INTS, _NARROW, _TABLE, _I, _I, _SUMS))
def _add_up(
    count: Any, found: Any, times: Any, table: Any, first: Any, width: Any, sums: Any
) -> Any:
    """Weigh the features found into `sums`, a column each; leaves `times` zero."""
    # Unsigned places are no negative ones, which Python counts from the end: this is what lets
    # the inner loop run on whole vectors.
    wide = np.uint64(width)
    offset = np.uint64(first)
    for column in range(wide):
        sums[column] = 0.0
    for k in range(count):
        feature = np.uint64(found[k])
        weight = np.float32(math.log1p(times[feature]))
        times[feature] = 0
        row = table[feature]
        for column in range(wide):
            sums[column] += weight * np.float32(row[offset + column])
    return count


@compiled(_I(_FLOATS, _I, _I, _INTS, _FLOATS))
def _strongest(scores: Any, first: Any, last: Any, same: Any, out: Any) -> Any:
    """Softmax over columns, those of one language added up; the best column, its share first."""
    highest = scores[first]
    for column in range(first + 1, last):
        highest = max(highest, scores[column])
    total = 0.0
    for column in range(first, last):
        scores[column] = math.exp(scores[column] - highest)
        total += scores[column]
    best = first
    for column in range(first, last):
        if same[column] != column:
            scores[same[column]] += scores[column]
            scores[column] = 0.0
    for column in range(first, last):
        if scores[column] > scores[best]:
            best = column
    out[0] = scores[best] / total
    return best


@compiled(_I(_INTS, _INTS, _I))
def _main_script(letters: Any, masks: Any, text: Any) -> Any:
    """The script with most letters; writes it, those that count, and all letters to `masks`."""
    main = np.int64(0)
    total = np.int64(0)
    for script in range(1, SCRIPTS):
        total += letters[script]
        if letters[script] > letters[main]:
            main = np.int64(script)
    mask = np.int64(1) << main if main else np.int64(0)
    for script in range(1, SCRIPTS):
        if letters[script] >= MIXED_LEAST and letters[script] >= MIXED_SHARE * total:
            mask |= np.int64(1) << script
    masks[3 * text] = main
    masks[3 * text + 1] = mask
    masks[3 * text + 2] = total
    return main


@compiled(_I(_FLOATS, _I, _I, _INTS, _I, _F, _F))
def _prefer(scores: Any, first: Any, last: Any, same: Any, told: Any, cool: Any, prior: Any) -> Any:
    """Temper the scores and prefer the column `told` (-1: none); gives how many languages."""
    languages = 0
    for column in range(first, last):
        scores[column] *= cool
        if same[column] == column:
            languages += 1
    if told >= 0 and languages > 1:
        odds = math.log(prior * (languages - 1) / (1.0 - prior))
        for column in range(first, last):
            if same[column] == told:
                scores[column] += odds
    return languages


@compiled(
    _I(
        BYTES, _INTS, _INTS, _BYTE_TABLE, _INTS, _INTS, _INTS, _NARROW, _NARROW, _NARROW, _TABLE,
        _F, _FLOATS, _F, _F, _NARROW, _INTS, _INTS, _FLOATS, _FLOATS, _INTS,
    )
)  # fmt: skip
def guess_all(
    data: Any,
    ends: Any,
    declared: Any,
    script_of: Any,
    firsts: Any,
    lasts: Any,
    same: Any,
    moves: Any,
    rows: Any,
    outs: Any,
    table: Any,
    unit: Any,
    bias: Any,
    heat: Any,
    prior: Any,
    times: Any,
    found: Any,
    columns: Any,
    shares: Any,
    scores: Any,
    masks: Any,
) -> Any:
    """Guess the language of every text.

    Args:
        data: all texts in UTF-8, one after the other.
        ends: where each ends.
        declared: its language as the first table column of that language under each script,
            shape (texts * SCRIPTS), -1 where it is not written in that script.
        script_of: script of each code point below 0x20000.
        firsts: first column of each script's languages.
        lasts: end of them.
        same: of each column, the first one of its language under the same script.
        moves: py3langid's automaton: next states, 256 a row.
        rows: row of each state.
        outs: feature that each state completes, or -1.
        table: log-likelihoods in `unit`, shape (features, columns).
        unit: what one of the table is worth.
        bias: log prior of each column.
        heat: temperature for one byte; it grows with the square root of their number.
        prior: probability that a declared language is right.
        times: scratch, one a feature, zero; left zero.
        found: scratch, as long as the longest text.
        columns: out, best column of each text; -1 where its main script has none.
        shares: out, its probability among those of its script.
        scores: scratch, one a column and one more.
        masks: out, shape (texts * 3): the main script (0 for none), a bit for each script that
            counts, and the number of letters.
    """
    letters = np.zeros(SCRIPTS, np.int64)
    sums = np.zeros(len(bias), np.float32)
    share = np.zeros(1, np.float64)
    start = 0
    for text in range(len(ends)):
        stop = ends[text]
        count_scripts(data, start, stop, script_of, letters)
        main = _main_script(letters, masks, text)
        first, last = firsts[main], lasts[main]
        columns[text] = -1
        shares[text] = 0.0
        if last - first == 1:
            columns[text] = first
            shares[text] = 1.0 - 0.5 ** letters[main]
        elif last > first:
            count = _collect(data, start, stop, moves, rows, outs, times, found)
            cool = 1.0 / (heat * math.sqrt(stop - start))
            _add_up(count, found, times, table, first, last - first, sums)
            for column in range(first, last):
                scores[column] = bias[column] + unit * sums[column - first]
            _prefer(scores, first, last, same, declared[text * SCRIPTS + main], cool, prior)
            columns[text] = _strongest(scores, first, last, same, share)
            shares[text] = share[0]
        start = stop
    return len(ends)
