"""Trust of a user: reputation, strikes, labels and restrictions, from the events of their history.

`apply` takes one event into a user's state; everything else is read from the state at a given
time. The same functions serve the job, tables that are rebuilt from topics, and tests: a row
rebuilt from the log is the online row, bit for bit.

Taking an event in is a join: events may come in any order and more than once, and give the same
state, as long as the user's remembered uploads (`memory`) reach back to what comes again. Beyond
them counts are exact for events that come once. No wall clock is read: times are the events' own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.categories import Severity
from schemas.features import Restriction, UserFeatures
from schemas.policy_parts import MEASURES
from schemas.trust import (
    Decided,
    Labelled,
    LabelSource,
    MemoryPart,
    Overturned,
    SeverityPoints,
    Strike,
    TrustDocument,
    TrustEvent,
    UserRow,
)
from schemas.upload import Upload
from udfs.trust_state import NEVER, Judged, TrustState, content_hash

_DAY_MS: Final = 86_400_000.0
_TOLD: Final = frozenset({1, 2, 4})
_TOLD_EACH: Final = 8
_SEVERITIES: Final[tuple[Severity, ...]] = ("none", "mild", "moderate", "severe")
_CODES: Final = {name: code for code, name in enumerate(_SEVERITIES)}


def apply(state: TrustState, event: TrustEvent, config: TrustDocument) -> TrustState:
    """The state with one more event.

    Args:
        state: of the user; `TrustState()` where there is none.
        event: about this user.
        config: how much is remembered.
    """
    if isinstance(event, Labelled):
        return _labelled(state, event, config.memory.labels)
    if isinstance(event, Decided):
        created, known = event.account_created_ms, state.created_ms
        state = msgspec.structs.replace(
            state,
            created_ms=min(created, known) if created and known else created or known,
            verified=max(state.verified, (event.at_ms, event.verified)),
        )
        severity = _CODES[event.severity]
        new = Judged(content_hash(event.content_id), event.at_ms, event.revision, severity)
    elif isinstance(event, Overturned):
        new = Judged(content_hash(event.content_id), event.at_ms, cleared=event.revision)
    else:
        new = Judged(content_hash(event.content_id), event.at_ms, reported=True)
    return _judged(state, new, config)


def replay(events: Iterable[TrustEvent], config: TrustDocument) -> TrustState:
    """The state after a history, as the job would have it."""
    state = TrustState()
    for event in events:
        state = apply(state, event, config)
    return state


def reputation(state: TrustState, at_ms: int, config: TrustDocument) -> float:
    """Reputation at a time, 0 to 100, three decimals.

        start + age_most min(age / age_days, 1) + verified
        + clean_most min(clean uploads / clean_uploads, 1)
        - sum over incidents of max points(severity) 2^(-age of the violation / half_life_days)
        + min(overturned * overturned decisions, overturned_most)

    An incident is the violations of one stretch of `incident_minutes` of the clock. A violation
    that was overturned takes nothing away. What lies after `at_ms` is as if it happened then.
    """
    part = config.reputation
    points = part.start
    if state.created_ms:
        age = max(at_ms - state.created_ms, 0) / _DAY_MS
        points += part.age_most * min(age / part.age_days, 1.0)
    if state.verified[1]:
        points += part.verified
    clean = state.uploads - state.rejected
    points += part.clean_most * min(clean / part.clean_uploads, 1.0)
    taken: dict[int, float] = {}
    for judged in state.violations:
        half_lives = max(at_ms - judged.at_ms, 0) / _DAY_MS / part.half_life_days
        incident = judged.at_ms // (config.incident_minutes * 60_000)
        weighs = _points(part.violation, judged.severity) * 2.0**-half_lives
        taken[incident] = max(taken.get(incident, 0.0), weighs)
    for weighs in taken.values():
        points -= weighs
    points += min(part.overturned * state.overturned, part.overturned_most)
    return round(min(max(points, 0.0), 100.0), 3)


def at_upload(
    state: TrustState,
    upload: Upload,
    broker_ms: int,
    config: TrustDocument,
) -> tuple[TrustState, int]:
    """What counts for an upload, and as of when: the same whenever it is asked.

    That is what was asked for at least `settle_ms` before the upload first came. Its own decision
    and later ones are left out, as far as they are remembered, so that a redelivery, and a job
    that reads its input again after a crash, get what the upload got the first time. Of the
    account, the upload's own word counts.

    Args:
        state: of the user.
        upload: that is to be decided.
        broker_ms: its broker time.
        config: how long answers take to settle.

    Returns:
        The state, and the time for `features`, ms since the epoch.
    """
    if state.clean or state.violations or state.labels:
        content = content_hash(upload.content_id)
        for entry in (*state.clean, *state.violations):
            if entry.content == content and entry.at_ms < broker_ms:
                broker_ms = entry.at_ms
        state = _settled(state, broker_ms - config.settle_ms)
    account = upload.account
    created = state.created_ms
    if account.created_at is not None:
        created = max(int(account.created_at.timestamp() * 1000), 0)
    if created == state.created_ms and account.verified == state.verified[1]:
        return state, broker_ms
    verified = (broker_ms, account.verified)
    return TrustState(
        created, verified, state.clean, state.violations, state.totals, state.labels
    ), broker_ms


def _settled(state: TrustState, until_ms: int) -> TrustState:
    """The state without what is newer, as far as that is remembered apart."""
    newer = [entry for entry in (*state.clean, *state.violations) if entry.at_ms > until_ms]
    if not newer and all(label.at_ms <= until_ms for label in state.labels):
        return state
    totals = list(state.totals)
    for entry in newer:
        totals = [total - count for total, count in zip(totals, entry.counts(), strict=True)]
    return TrustState(
        state.created_ms,
        state.verified,
        tuple(entry for entry in state.clean if entry.at_ms <= until_ms),
        tuple(entry for entry in state.violations if entry.at_ms <= until_ms),
        (totals[0], totals[1], totals[2], totals[3]),
        tuple(label for label in state.labels if label.at_ms <= until_ms),
    )


def features(state: TrustState, at_ms: int, config: TrustDocument) -> UserFeatures:
    """What the cascade reads about a user at a time."""
    uploads = state.uploads
    reputed = reputation(state, at_ms, config)
    if not state.violations and not state.labels:
        # Nearly every user, nearly always.
        return UserFeatures(
            reputation=reputed,
            violations=state.rejected,
            toxicity_rate=round(state.rejected / uploads, 6) if uploads else 0.0,
            report_rate=round(min(state.reported / uploads, 1.0), 6) if uploads else 0.0,
            uploads=uploads,
            known=uploads > 0,
        )
    own = labels(state, at_ms)
    counted = strikes(state, at_ms, config)
    return UserFeatures(
        reputation=reputed,
        violations=state.rejected,
        toxicity_rate=round(state.rejected / uploads, 6) if uploads else 0.0,
        report_rate=round(min(state.reported / uploads, 1.0), 6) if uploads else 0.0,
        uploads=uploads,
        known=uploads > 0,
        strike_weight=sum(strike.weight for strike in counted),
        label_names=tuple(label.name for label in own),
        restriction=strictest(own, counted, config),
    )


def worth_telling(before: TrustState, after: TrustState) -> bool:
    """Whether readers of the row should hear of a change now.

    Everything but the count of clean uploads is told at once; that one at 1, 2, 4, and at every
    eighth.
    """
    if before == after:
        return False
    uploads = after.uploads
    if uploads % _TOLD_EACH == 0 or uploads in _TOLD:
        return True
    return (
        before.totals[1:] != after.totals[1:]
        or before.violations != after.violations
        or before.labels != after.labels
        or before.created_ms != after.created_ms
        or before.verified[1] != after.verified[1]
    )


def strikes(state: TrustState, at_ms: int, config: TrustDocument) -> list[Strike]:
    """Strikes that have not lapsed at a time, oldest first; one an incident, its gravest."""
    part = config.strikes
    lasts = int(part.days * _DAY_MS)
    found: dict[int, Strike] = {}
    for judged in state.violations:
        weight = _points(part.weights, judged.severity)
        expires_ms = judged.at_ms + lasts
        incident = judged.at_ms // (config.incident_minutes * 60_000)
        known = found.get(incident)
        if weight > (0 if known is None else known.weight) and at_ms < expires_ms:
            found[incident] = Strike(
                severity=_SEVERITIES[judged.severity],
                weight=weight,
                at_ms=judged.at_ms,
                expires_ms=expires_ms,
            )
    return list(found.values())


def labels(state: TrustState, at_ms: int) -> list[Labelled]:
    """Labels that the user has at a time, by name."""
    return effective(state.labels, at_ms)


def effective(said: Iterable[Labelled], at_ms: int) -> list[Labelled]:
    """Labels that count at a time, by name: a person's word before rules and models.

    Args:
        said: what was said, in any order; of one name and rank the newest counts.
        at_ms: ms since the epoch.
    """
    best: dict[str, Labelled] = {}
    for label in said:
        if label.expires_ms and label.expires_ms <= at_ms:
            continue
        known = best.get(label.name)
        if known is None or _label_order(label) > _label_order(known):
            best[label.name] = label
    return [best[name] for name in sorted(best) if best[name].present]


def restriction(state: TrustState, at_ms: int, config: TrustDocument) -> Restriction | None:
    """The strictest restriction that holds at a time; None where none does."""
    return strictest(labels(state, at_ms), strikes(state, at_ms, config), config)


def strictest(
    own: Iterable[Labelled], counted: Iterable[Strike], config: TrustDocument
) -> Restriction | None:
    """The strictest restriction whose condition these labels and strikes meet."""
    names = {label.name for label in own}
    count = sum(strike.weight for strike in counted)
    found: Restriction | None = None
    for part in config.restrictions:
        holds = part.label in names if part.strikes is None else count >= part.strikes
        stricter = found is None or MEASURES.index(part.measure) > MEASURES.index(found.measure)
        if holds and stricter:
            found = Restriction(measure=part.measure, reason=part.reason)
    return found


def row(state: TrustState, at_ms: int, config: TrustDocument) -> UserRow:
    """Everything that readers see of a user at a time; the row `user:{id}`."""
    found = features(state, at_ms, config)
    return UserRow(
        **msgspec.structs.asdict(found),
        strikes=tuple(strikes(state, at_ms, config)),
        labels=tuple(labels(state, at_ms)),
        said=state.labels,
        at_ms=at_ms,
    )


def _judged(state: TrustState, new: Judged, config: TrustDocument) -> TrustState:
    """Join what is known about one content with what is new, and forget beyond the bounds."""
    clean, violations, totals = state.clean, state.violations, state.totals
    content = new.content
    known = next((entry for entry in (*clean, *violations) if entry.content == content), None)
    if known is not None:
        joined = known.joined(new)
        if joined == known:
            return state
        before = known.counts()
        if known.violates:
            violations = tuple(entry for entry in violations if entry.content != content)
        else:
            clean = tuple(entry for entry in clean if entry.content != content)
        new = joined
    else:
        before = (0, 0, 0, 0)
    after = new.counts()
    uploads, rejected, overturned, reported = totals
    memory = config.memory
    if new.violates:
        violations = _kept(violations, new, memory.violations, memory)
    else:
        clean = _kept(clean, new, memory.clean, memory)
    return TrustState(
        state.created_ms,
        state.verified,
        clean,
        violations,
        (
            uploads + after[0] - before[0],
            rejected + after[1] - before[1],
            overturned + after[2] - before[2],
            reported + after[3] - before[3],
        ),
        state.labels,
    )


def _kept(
    entries: tuple[Judged, ...], new: Judged, most: int, memory: MemoryPart
) -> tuple[Judged, ...]:
    """The newest `most`, and beyond them what is recent, as long as that is not too many."""
    if not entries or _entry_order(entries[-1]) < _entry_order(new):
        joined = (*entries, new)
    else:
        joined = tuple(sorted((*entries, new), key=_entry_order))
    if len(joined) <= most:
        return joined
    since = joined[-1].at_ms - memory.recent_s * 1000
    first = max(len(joined) - max(memory.recent, most), 0)
    last = len(joined) - most
    while first < last and joined[first].at_ms < since:
        first += 1
    return joined[first:]


def _labelled(state: TrustState, label: Labelled, most: int) -> TrustState:
    kept = {(known.name, _rank(known.source)): known for known in state.labels}
    place = (label.name, _rank(label.source))
    if place in kept and _label_order(kept[place]) >= _label_order(label):
        return state
    kept[place] = label
    if len(kept) > most:
        del kept[min(kept, key=lambda name: (kept[name].at_ms, name))]
    return msgspec.structs.replace(state, labels=tuple(kept[name] for name in sorted(kept)))


def _rank(source: LabelSource) -> int:
    return 1 if source == "person" else 0


def _label_order(label: Labelled) -> tuple[int, int, bool, int, str, str]:
    # Never expiring counts as latest; what is left only makes the order total.
    expires = label.expires_ms or NEVER
    said = (label.at_ms, label.present, expires, label.reason, f"{label.source} {label.by}")
    return (_rank(label.source), *said)


def _entry_order(entry: Judged) -> tuple[int, int]:
    return entry.at_ms, entry.content


def _points(points: SeverityPoints, severity: int) -> float:
    return (0.0, points.mild, points.moderate, points.severe)[severity]
