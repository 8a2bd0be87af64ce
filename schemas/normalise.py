"""The tables of the text normaliser, as people write them (`conf/normalise.yaml`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.policy_parts import Part

Token = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^A-Z]+$")]

Word = Annotated[str, Field(min_length=3, max_length=24, pattern=r"^[a-z]+$")]


class NormaliseConfig(Part):
    """Tables of whole tokens, in lower case."""

    version: Literal[1]
    abbreviations: dict[Token, Token] = Field(default_factory=dict)
    """Short or masked forms and what they stand for."""
    keep: tuple[Token, ...] = ()
    """Tokens that look like leet and are none."""
    keep_repeats: tuple[Token, ...] = ()
    """Tokens in which a letter stands three times and means it."""
    lexicon: str = ""
    """File of English words beside this one, one a line, by which disguises without a plain shape
    are read (`id!ot`, `idio.t`); empty: they are left."""
    guarded: tuple[Word, ...] = ()
    """Words of abuse whose misspelt and split forms (`idoit`, `st upid`) are read wherever they
    stand; forms that are words themselves, or two, are left."""
    i_words: tuple[Token, ...] = ()
    """Words with a first letter that is no pronoun when they are spelled out."""


def normalise_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/normalise.yaml`, as kept in `conf/schemas/normalise.schema.json`."""
    return NormaliseConfig.model_json_schema()
