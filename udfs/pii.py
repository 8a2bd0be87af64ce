"""Personal data in texts: found, and replaced by what kind it was.

E-mail addresses, telephone numbers (libphonenumber's rules by way of `phonenumbers`), payment
cards (ISO/IEC 7812, Luhn), IP addresses, handles, and names of persons where the text says that
something is one (`udfs.pii_names`). Most names stand in a text without any such sign: what this
leaves may still name a person.

Patterns are RE2's, in time linear in the text; what they propose is then checked.
"""

from __future__ import annotations

import functools
import ipaddress
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final, Literal, NamedTuple

import phonenumbers
import re2

from udfs.pii_names import find_names

Kind = Literal["email", "card", "ip", "phone", "handle", "name"]
KINDS: Final[tuple[Kind, ...]] = ("email", "card", "ip", "phone", "handle", "name")
"""Where two overlap, the one that is named first counts."""
REGIONS: Final = ("US", "GB")
"""Whose telephone numbers are known without a country code."""


class Found(NamedTuple):
    """One piece of personal data."""

    kind: Kind
    start: int
    end: int
    """Half-open range of code points in the text."""


# Classes without counted repetitions: those over all of Unicode compile to megabytes.
_PART: Final = r"""[^\x00-\x20@<>()\[\]{},;:"'/\\|]"""
_LABEL: Final = r"""[^\x00-\x20@<>()\[\]{},;:"'/\\|.!?*#]"""
_EMAIL: Final = re2.compile(
    rf"(?i){_PART}+(?:@|\s?[\[({{]\s?at\s?[\])}}]\s?)"
    rf"{_LABEL}+(?:(?:\.|\s?[\[({{]\s?dot\s?[\])}}]\s?){_LABEL}+)+"
)
_CARD: Final = re2.compile(r"\d(?:[ \-]?\d){12,18}")
_IPV4: Final = re2.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_IPV6: Final = re2.compile(r"(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:\d{0,3}(?:\.\d{1,3}){3})?")
_PHONE: Final = re2.compile(r"[+(]{0,2}\d[\d().\-/ ]{5,28}\d")
_HANDLE: Final = re2.compile(
    r"(?i)(?:^|[^a-z0-9_@./])(@[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9_])?|/?u/[a-z0-9_\-]+)"
)
_WORDLIKE: Final = frozenset("_")


def find_pii(
    text: str, regions: Iterable[str] = REGIONS, kinds: Collection[Kind] = KINDS
) -> list[Found]:
    """Personal data in a text, in order, without overlaps.

    Args:
        text: as it was written.
        regions: ISO 3166 codes of countries whose telephone numbers are known without their
            country code. Numbers that begin with one are known everywhere.
        kinds: that are looked for.
    """
    plain = _plain(text)
    found: list[Found] = []
    taken = bytearray(len(text))
    for one in _proposed(plain, tuple(regions)):
        if one.kind in kinds and not any(taken[one.start : one.end]):
            taken[one.start : one.end] = b"\1" * (one.end - one.start)
            found.append(one)
    found.sort(key=lambda each: each.start)
    return found


def mask(text: str, regions: Iterable[str] = REGIONS, kinds: Collection[Kind] = KINDS) -> str:
    """The text with personal data replaced by its kind, as `[email]`.

    What is masked once stays as it is when masked again.
    """
    out: list[str] = []
    last = 0
    for one in find_pii(text, regions, kinds):
        out += [text[last : one.start], f"[{one.kind}]"]
        last = one.end
    return "".join([*out, text[last:]]) if out else text


class MaskLogs:
    """A structlog processor: no personal data in what is logged.

    Put it behind those that format exceptions and before the renderer. It looks at the values of
    all fields, however deep; names of fields are left alone.

    Args:
        keep: fields that hold no free text and must be readable, such as times and ids that
            look like numbers.
        regions: as of `find_pii`.
    """

    def __init__(
        self, keep: Iterable[str] = ("timestamp", "level"), regions: Iterable[str] = REGIONS
    ) -> None:
        self._keep = frozenset(keep)
        self._regions = tuple(regions)

    def __call__(
        self,
        logger: Any,  # noqa: ARG002 - structlog gives the signature
        method_name: str,  # noqa: ARG002 - likewise
        event_dict: MutableMapping[str, Any],
    ) -> MutableMapping[str, Any]:
        """Mask one event."""
        for name, value in event_dict.items():
            if name not in self._keep:
                event_dict[name] = self._masked(value)
        return event_dict

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return mask(value, self._regions)
        if isinstance(value, bytes):
            return mask(value.decode("utf-8", "replace"), self._regions)
        if isinstance(value, Mapping):
            return {name: self._masked(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._masked(inner) for inner in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        # What else there is would be rendered by its own words.
        return mask(str(value), self._regions)


def _proposed(text: str, regions: tuple[str, ...]) -> Iterator[Found]:
    """By kind, in the order of `KINDS`."""
    digits = sum(map(str.isdigit, text))
    if "@" in text or "at" in text.lower():
        for match in _EMAIL.finditer(text):
            yield Found("email", *match.span())
    if digits >= 13:
        yield from (Found("card", *span) for span in _cards(text))
    if digits >= 4 and "." in text:
        yield from (Found("ip", *span) for span in _addresses(_IPV4, text))
    if text.count(":") >= 2:
        yield from (Found("ip", *span) for span in _addresses(_IPV6, text))
    if digits >= 7:
        yield from (Found("phone", *span) for span in _phones(text, regions))
    if "@" in text or "u/" in text.lower():
        for match in _HANDLE.finditer(text):
            yield Found("handle", *match.span(1))
    for span in find_names(text):
        yield Found("name", *span)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        start, end = match.span()
        if _bounded(text, start, end) and luhn(match.group()):
            yield start, end


def luhn(number: str) -> bool:
    """Whether a number's last digit is right (ISO/IEC 7812-1, annex B); separators are skipped."""
    total = 0
    digits = [int(character) for character in number if character in "0123456789"]
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return len(set(digits)) > 1 and total % 10 == 0


def _addresses(pattern: Any, text: str) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        start, end = match.span()
        try:
            ipaddress.ip_address(match.group())
        except ValueError:
            continue
        # `::` alone is punctuation, and 12:30:45 a time.
        if _bounded(text, start, end) and sum(map(str.isalnum, match.group())) > 3:
            yield start, end


def _phones(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for proposed in _PHONE.finditer(text):
        first, last = proposed.span()
        part = text[first:last]
        for region in regions or (None,):
            hit = next(iter(phonenumbers.PhoneNumberMatcher(part, region)), None)
            if hit is None:
                continue
            start, end = first + hit.start, first + hit.end
            # A bracket that opens before the number is the sentence's.
            start += text[start] == "(" and ")" not in text[start:end]
            if _bounded(text, start, end):
                yield start, end
                break


def _bounded(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit goes on before or after."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() or after.isalnum() or before in _WORDLIKE or after in _WORDLIKE)


def _plain(text: str) -> str:
    """The same, place by place, with compatible forms and digits of every script as in ASCII."""
    return text if text.isascii() else "".join(map(_plain_character, text))


@functools.lru_cache(maxsize=65_536)
def _plain_character(character: str) -> str:
    if character.isdecimal():
        return str(int(character))
    folded = unicodedata.normalize("NFKC", character)
    return folded if len(folded) == 1 else character
