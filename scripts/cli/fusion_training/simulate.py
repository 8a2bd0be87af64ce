"""Simulated authors for real texts: how a fusion learns from behaviour where no real data has it.

No public set of texts says how fast their authors posted, what they had done before or how old
their accounts were. So authors are drawn from a population that is written down here, and each
real text is given one. What is real: the texts, their labels, the scores, the rules that match,
and what normalisation removes. What is assumed: everything in `Population`, and that behaviour
and words are independent once it is known whether a text is abusive, and whether it is spam.

A text's author is drawn by Bayes' rule: the chance that an author with propensity q wrote it is
proportional to q where the text is harmful, and to 1 - q where it is not. So joining changes
neither the share of harmful texts nor what an author is like.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.categories import TEXT_CATEGORIES
from schemas.features import ThreadContext, UserFeatures, Velocity, Window
from schemas.upload import Account, Upload
from scripts.cli.dataset.augment import disguise
from scripts.cli.dataset.config import TRICKS
from udfs.contracts import Item, Scorer, Signals
from udfs.normalise import Normalised, normalise
from udfs.rules import RuleSet

FloatArray = npt.NDArray[np.float64]

NOW: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOW_MS: Final = int(NOW.timestamp() * 1000)
ABUSE: Final = ("toxicity", "hate_speech", "threat")
SPAM: Final = ("spam", "sexual")
"""Categories that a propensity speaks of; self-harm depends on nobody's behaviour."""
_BATCH: Final = 512


class Kind(msgspec.Struct, frozen=True):
    """A kind of author. Shares are of uploads."""

    name: str
    share: float
    abuse: tuple[float, float]
    """Beta distribution of the propensity to abuse."""
    spam: tuple[float, float]
    """Beta distribution of the propensity to spam."""
    floods: float
    """Share that posts in bursts and repeats itself."""
    age_days: float
    """Median age of the account."""
    disguises: float
    """Share of harmful texts that are disguised."""


class Population(msgspec.Struct, frozen=True):
    """All that is assumed about authors."""

    kinds: tuple[Kind, ...] = (
        Kind("regular", 0.88, (0.6, 18.0), (0.2, 40.0), 0.005, 700.0, 0.05),
        Kind("rude", 0.06, (2.0, 5.0), (0.2, 40.0), 0.01, 400.0, 0.1),
        Kind("offender", 0.02, (4.0, 3.0), (0.5, 20.0), 0.1, 60.0, 0.3),
        Kind("spammer", 0.04, (0.6, 18.0), (4.0, 2.0), 0.5, 20.0, 0.3),
    )
    harmless_disguises: float = 0.02
    lively: float = 0.05
    """Share of authors that post fast without repeating themselves."""
    new: float = 0.2
    """Share of authors of whom nothing is known."""
    reply: float = 0.6
    """Share of uploads with a parent whose toxicity is known."""
    caught: float = 0.6
    """Share of harmful uploads that were rejected before."""
    heat: tuple[float, float] = (0.5, 8.0)
    """Beta distribution of how heated a thread is; its heat adds to everybody's propensity."""
    informative: bool = True
    """False: authors are drawn without regard to the text, so behaviour tells nothing."""


class Behaviour(NamedTuple):
    """An author at the moment of an upload."""

    abuse: float
    spam: float
    user: UserFeatures
    velocity: Velocity
    context: ThreadContext
    account: Account
    disguises: float


def behaviours(number: int, population: Population, rng: np.random.Generator) -> list[Behaviour]:
    """Draw authors at the moment of an upload."""
    kinds = population.kinds
    shares = np.array([kind.share for kind in kinds])
    return [
        _behaviour(kinds[place], population, rng)
        for place in rng.choice(len(kinds), number, p=shares / shares.sum())
    ]


def _behaviour(kind: Kind, population: Population, rng: np.random.Generator) -> Behaviour:
    abuse, spam = float(rng.beta(*kind.abuse)), float(rng.beta(*kind.spam))
    heat = float(rng.beta(*population.heat))
    harm = 1 - (1 - abuse) * (1 - spam)
    uploads = int(rng.lognormal(3.7, 1.2))
    rejected = int(rng.binomial(uploads, harm * population.caught))
    reports = int(rng.binomial(uploads, min(1.0, 0.005 + 0.3 * harm)))
    reputation = 50 + 25 * np.tanh(uploads / 200) - 60 * rejected / (uploads + 5)
    user = UserFeatures()
    if rng.random() >= population.new:
        user = UserFeatures(
            known=True,
            uploads=uploads,
            reputation=float(np.clip(reputation + rng.normal(0, 8), 0, 100)),
            violations=int(rng.binomial(rejected, 0.5)),
            toxicity_rate=rejected / uploads if uploads else 0.0,
            report_rate=reports / uploads if uploads else 0.0,
        )
    parent = float(np.clip(heat + rng.normal(0, 0.1), 0, 1))
    community = float(np.clip(rng.beta(1, 25) + 0.3 * heat, 0, 1))
    age = float(kind.age_days * rng.lognormal(0, 1))
    return Behaviour(
        1 - (1 - abuse) * (1 - 0.4 * heat),
        spam,
        user,
        _velocity(kind, population, rng),
        ThreadContext(
            parent_toxicity=parent if rng.random() < population.reply else None,
            community_baseline=community,
        ),
        Account(created_at=NOW - dt.timedelta(days=age), verified=bool(rng.random() < 0.05)),
        kind.disguises,
    )


def _velocity(kind: Kind, population: Population, rng: np.random.Generator) -> Velocity:
    """Counts of windows that hold each other."""
    if rng.random() < kind.floods:
        more, repeats, wander = (8.0, 20.0, 80.0, 100.0), 0.85, 4.0
    elif rng.random() < population.lively:
        more, repeats, wander = (4.0, 10.0, 60.0, 80.0), 0.03, 0.3
    else:
        day = float(rng.gamma(1.0, 6.0))
        more, repeats, wander = (0.02 * day, 0.05 * day, 0.3 * day, day), 0.03, 0.2
    count, repeated, communities = 1, 0, 1
    windows = []
    for width, mean in zip((10.0, 60.0, 3600.0, 86_400.0), more, strict=True):
        added = int(rng.poisson(mean))
        count += added
        repeated += int(rng.binomial(added, repeats))
        communities = min(count, communities + int(rng.poisson(wander) if added else 0))
        windows.append(Window(count, count - repeated, communities, width / count))
    return Velocity(windows=(windows[0], windows[1], windows[2], windows[3]))


def authors_of(
    labels: FloatArray, pool: Sequence[Behaviour], rng: np.random.Generator, *, informative: bool
) -> npt.NDArray[np.int64]:
    """An author for each text, by Bayes' rule.

    Args:
        labels: 1, 0 or NaN, shape (texts, TEXT_CATEGORIES). Of a text that is not known to be
            abusive (or spam), only its being the other counts.
        pool: authors to draw from.
        rng: of the draw.
        informative: False to draw without regard to the labels.

    Returns:
        Places in `pool`, shape (texts,).
    """
    propensities = [np.array([b.abuse for b in pool]), np.array([b.spam for b in pool])]
    kinds = np.stack([_harm(labels, ABUSE, 0), _harm(labels, SPAM, 5)], axis=1)
    out = np.empty(len(labels), np.int64)
    for kind in np.unique(np.nan_to_num(kinds, nan=-1), axis=0):
        chance = np.ones(len(pool))
        for label, propensity in zip(kind, propensities, strict=True):
            if informative and label >= 0:
                chance *= propensity if label else 1 - propensity
        rows = np.flatnonzero((np.nan_to_num(kinds, nan=-1) == kind).all(axis=1))
        out[rows] = rng.choice(len(pool), len(rows), p=chance / chance.sum())
    return out


def _harm(labels: FloatArray, names: Sequence[str], decisive: int) -> FloatArray:
    """1 where any of the categories is, 0 where the decisive one is known not to be, else NaN."""
    columns = labels[:, [TEXT_CATEGORIES.index(name) for name in names]]
    found = np.where((columns == 1).any(axis=1), 1.0, np.nan)
    return np.where(np.isnan(found) & (labels[:, decisive] == 0), 0.0, found)


def joined(
    texts: Sequence[str],
    labels: FloatArray,
    scorer: Scorer,
    rules: RuleSet,
    population: Population,
    *,
    copies: int,
    seed: int,
) -> list[Signals]:
    """What the cascade would know when it fuses each text, `copies` times over.

    Args:
        texts: as they came.
        labels: 1, 0 or NaN, shape (texts, TEXT_CATEGORIES).
        scorer: gives the scores.
        rules: are matched.
        population: of authors.
        copies: authors for each text.
        seed: of every draw.

    Returns:
        Signals of all texts, then of all texts again with other authors, and so on.
    """
    rng = np.random.default_rng(seed)
    words = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    pool = behaviours(4_000, population, rng)
    harmful = (labels == 1).any(axis=1)
    out: list[Signals] = []
    for _ in range(copies):
        chosen = authors_of(labels, pool, rng, informative=population.informative)
        for first in range(0, len(texts), _BATCH):
            rows = range(first, min(first + _BATCH, len(texts)))
            own = [pool[chosen[i]] for i in rows]
            normal = []
            for i, author in zip(rows, own, strict=True):
                share = author.disguises if harmful[i] else population.harmless_disguises
                text = texts[i]
                if words.random() < share:
                    text = disguise(text, words.choice(TRICKS), words, share=0.3)
                normal.append(normalise(text))
            out += _signals(normal, own, scorer, rules)
    return out


def _signals(
    texts: Sequence[Normalised], authors: Sequence[Behaviour], scorer: Scorer, rules: RuleSet
) -> list[Signals]:
    items = [
        Item(
            Upload(
                content_id="-", content_type="text", user_id="-", created_at=NOW,
                text=text.original, account=author.account,
            ),
            b"", NOW_MS, author.velocity, text,
        )
        for text, author in zip(texts, authors, strict=True)
    ]  # fmt: skip
    scores = scorer.score([text.text for text in texts]).astype(np.float64).tolist()
    found = rules.match(items, NOW_MS)
    return [
        Signals(
            item.upload,
            dict(zip(scorer.categories, row, strict=True)),
            [match for match in matches if not match.observe_only],
            (),
            text.evasion,
            author.velocity,
            author.user,
            author.context,
            NOW_MS,
        )
        for item, row, matches, text, author in zip(
            items, scores, found, texts, authors, strict=True
        )
    ]
