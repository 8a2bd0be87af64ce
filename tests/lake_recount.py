"""The views once more, in plain Python over the records of the topics."""

from __future__ import annotations

import datetime as dt
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

Record = dict[str, Any]
Row = tuple[Any, ...]
EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the tables hold UTC without saying so
DISTURBING: Final = {"csam", "violence", "gore", "self_harm"}


def time_of(text: str | None) -> dt.datetime | None:
    """A time of a record as the tables have it: UTC, which they do not say."""
    if text is None:
        return None
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC).replace(tzinfo=None)


def first(records: Iterable[Record], *key: str) -> list[Record]:
    """The first of each id."""
    found: dict[Row, Record] = {}
    for record in records:
        found.setdefault(tuple(record.get(name) for name in key), record)
    return list(found.values())


class Recount:
    """What the views must say.

    Args:
        topics: by short name the records that can be read, in the order of their publication.
        prices: as of the view `cost`.
    """

    def __init__(self, topics: Mapping[str, Sequence[Record]], prices: Mapping[str, float]) -> None:
        self._prices = prices
        self.decisions = first(topics["decisions"], "moderation_id")
        for one in self.decisions:
            one["decided_at"] = time_of(one["timestamp"])
            one["asked_at"] = one["decided_at"] - dt.timedelta(milliseconds=one["latency_ms"])
            one["dt"] = f"{one['asked_at']:%Y-%m-%d}"
        self.verdicts = first(topics["verdicts"], "verdict_id", "content_id")
        self.appeals = first(topics["appeals"], "appeal_id", "outcome")
        for said in (*self.verdicts, *self.appeals):
            said["said_at"] = time_of(said["at"])
            said["dt"] = f"{said['said_at']:%Y-%m-%d}"
        self.events = first(topics["user_events"], "user_id", "name", "at", "present")
        self.cases: dict[str, Record] = {}
        for one in self.decisions:
            there = self.cases.get(one["content_id"])
            if there is None or _revision(there) < _revision(one):
                self.cases[one["content_id"]] = one
        self.judged = self._labels()

    def views(self) -> dict[str, Callable[[], list[Row]]]:
        """By name of the view: its rows, in any order."""
        return {
            "latest_cases": lambda: [(c, one["moderation_id"]) for c, one in self.cases.items()],
            "labels": lambda: [(name, *label) for name, label in self.judged.items()],
            "latency_by_minute": self._latency,
            "volume_by_minute": self._volume,
            "block_rate_by_community": self._block_rate,
            "action_mix_by_category": self._actions,
            "daily_confusion_matrix": self._confusion,
            "top_rules": lambda: self._found("rule"),
            "top_bank_entries": lambda: self._found("bank"),
            "appeal_outcomes": self._appeals,
            "reviewer_load": self._reviewers,
            "degraded_time": self._degraded,
            "label_history": self._history,
            "cost": self._cost,
        }

    def _labels(self) -> dict[str, tuple[int, bool | None, int, dt.datetime]]:
        by_content = defaultdict(list)
        for one in self.decisions:
            by_content[one["content_id"]].append(one)
        said = [
            (v, v["rater_id"], 2 if v.get("role") == "senior" else 1, v["violates"])
            for v in self.verdicts
            if not v.get("golden")
        ]
        said += [
            (a, a.get("rater_id") or "automatic", 3, a["outcome"] == "upheld")
            for a in self.appeals
            if a["outcome"] != "escalated"
        ]
        votes: dict[tuple[str, int], dict[str, bool]] = defaultdict(dict)
        since: dict[str, dt.datetime] = {}
        for word, who, rank, violates in said:
            name = word.get("moderation_id")
            if name is None:
                known = by_content[word["content_id"]]
                earlier = [d for d in known if d["decided_at"] <= word["said_at"]]
                if not known:
                    continue
                newest = max(earlier, key=lambda d: d["decided_at"]) if earlier else None
                name = (newest or min(known, key=lambda d: d["decided_at"]))["moderation_id"]
            there = votes[name, rank]
            there[who] = there.get(who, False) or violates
            since[name] = min(since.get(name, word["said_at"]), word["said_at"])
        labels = {}
        for name, spoken in since.items():
            rank = max(rank for other, rank in votes if other == name)
            ayes, all_votes = sum(votes[name, rank].values()), len(votes[name, rank])
            violates = None if 2 * ayes == all_votes else 2 * ayes > all_votes
            labels[name] = (rank, violates, all_votes, spoken)
        return labels

    def _says(self, one: Record) -> bool | None:
        label = self.judged.get(one["moderation_id"])
        return None if label is None else label[1]

    def _latency(self) -> list[Row]:
        minutes = defaultdict(list)
        for one in self.decisions:
            minutes[_minute(one["decided_at"])].append(one["latency_ms"])
        return [
            (minute, len(ms), *(float(np.quantile(ms, q)) for q in (0.5, 0.95, 0.99)), max(ms))
            for minute, ms in minutes.items()
        ]

    def _volume(self) -> list[Row]:
        groups = _groups(self.decisions, lambda d: (_minute(d["asked_at"]), d["content_type"]))
        return [
            (*key, len(group), len({d["content_id"] for d in group}), *_statuses(group))
            for key, group in groups.items()
        ]

    def _block_rate(self) -> list[Row]:
        settled = [one for one in self.cases.values() if not one["interim"]]
        rows = []
        for (name,), group in _groups(settled, lambda d: (d["community_id"] or "",)).items():
            blocked = [d for d in group if d["status"] == "rejected"]
            judged = [d for d in blocked if self._says(d) is not None]
            wrong = sum(self._says(d) is False for d in judged)
            share = wrong / len(judged) if judged else None
            rate = len(blocked) / len(group)
            rows.append((name, len(group), len(blocked), rate, len(judged), wrong, share))
        return rows

    def _actions(self) -> list[Row]:
        settled = [one for one in self.decisions if not one["interim"]]
        per_category = Counter((d["dt"], d["category"]) for d in settled)
        counts = Counter((d["dt"], d["category"], d["action"]) for d in settled)
        return [(*key, n, n / per_category[key[:2]]) for key, n in counts.items()]

    def _confusion(self) -> list[Row]:
        judged = [one for one in self.decisions if self._says(one) is not None]
        rows = []
        for (day,), group in _groups(judged, lambda d: (d["dt"],)).items():
            cells = Counter((d["status"], self._says(d)) for d in group)
            tp, fp = cells["rejected", True], cells["rejected", False]
            tn, fn = cells["approved", False], cells["approved", True]
            undecided = cells["pending_review", True] + cells["pending_review", False]
            shares = [tp / total if total else None for total in (tp + fp, tp + fn)]
            rows.append((day, len(group), tp, fp, tn, fn, undecided, *shares))
        return rows

    def _found(self, kind: str) -> list[Row]:
        by_name = defaultdict(list)
        for one in self.decisions:
            pieces = [e for e in one["evidence"] if e["kind"] == kind]
            for name in {e["id"] for e in pieces if not e.get("observe_only")}:
                if not one["interim"]:
                    by_name[name].append(one)
        rows = []
        for name, group in by_name.items():
            acted = [d for d in group if d["action"] not in {"allow", "review"}]
            says = [self._says(d) for d in acted if self._says(d) is not None]
            wrong = says.count(False)
            contents = len({d["content_id"] for d in group})
            share = wrong / len(says) if says else None
            rows.append((name, len(group), contents, len(acted), len(says), wrong, share))
        return rows

    def _appeals(self) -> list[Row]:
        last: dict[str, Record] = {}
        for one in sorted(self.appeals, key=lambda a: (a["outcome"] != "escalated", a["said_at"])):
            last[one["appeal_id"]] = one
        groups = _groups(last.values(), lambda a: (a["dt"], self._category(a)))
        rows = []
        for key, group in groups.items():
            ends = Counter(a["outcome"] for a in group)
            ended = ends["upheld"] + ends["overturned"]
            hours = [
                (a["said_at"] - made).total_seconds() / 3600
                for a in group
                if (made := time_of(a.get("appealed_at"))) is not None
            ]
            rows.append(
                (*key, len(group), ends["upheld"], ends["overturned"], ends["escalated"],
                 ends["overturned"] / ended if ended else None,
                 sum(a.get("automatic", False) for a in group),
                 statistics.median(hours) if hours else None)
            )  # fmt: skip
        return rows

    def _category(self, appeal: Record) -> str:
        case = self.cases.get(appeal["content_id"])
        return str(appeal.get("category") or (case["category"] if case else ""))

    def _reviewers(self) -> list[Row]:
        rows = []
        for key, group in _groups(self.verdicts, lambda v: (v["dt"], v["rater_id"])).items():
            seconds = [v["seconds"] for v in group]
            disturbing = {v["content_id"] for v in group if v.get("category") in DISTURBING}
            rows.append(
                (*key, max(v.get("role", "reviewer") for v in group),
                 len({v["content_id"] for v in group}), len(group),
                 sum(v.get("golden", False) for v in group), sum(seconds),
                 statistics.median(seconds), len(disturbing))
            )  # fmt: skip
        return rows

    def _degraded(self) -> list[Row]:
        times = defaultdict(list)
        for one in self.decisions:
            for dependency in one["degraded"]:
                times[one["dt"], dependency].append(one["decided_at"])
        return [
            (*key, len(ats), len(set(map(_minute, ats))), min(ats), max(ats))
            for key, ats in times.items()
        ]

    def _history(self) -> list[Row]:
        rows: list[Row] = []
        said = sorted(self.events, key=lambda e: str(e["at"]))
        for place, one in enumerate(said):
            later = [
                time_of(e["at"]) for e in said[place + 1 :] if _labels_of(e) == _labels_of(one)
            ]
            ends = [end for end in (time_of(one.get("expires_at")), *later[:1]) if end]
            rows.append(
                (one["user_id"], one["name"], one["source"], one["present"],
                 one["by"], time_of(one["at"]), min(ends) if ends else None)
            )  # fmt: skip
        return rows

    def _cost(self) -> list[Row]:
        rows = []
        for (day,), group in _groups(self.decisions, lambda d: (d["dt"],)).items():
            hours = [(d["decided_at"] - EPOCH) // dt.timedelta(hours=1) for d in group]
            machine = self._prices["machine_hour"] * self._prices["machines"]
            machine *= max(hours) - min(hours) + 1
            review = sum(v["seconds"] for v in self.verdicts if v["dt"] == day) / 3600
            paid = review * self._prices["review_hour"]
            contents = len({d["content_id"] for d in group})
            usd = machine + paid
            rows.append((day, contents, len(group), machine, review, paid, usd, usd / contents))
        return rows


def _revision(one: Record) -> tuple[int, int, dt.datetime]:
    return one["upload_revision"], one["revision"], one["asked_at"]


def _labels_of(event: Record) -> Row:
    return event["user_id"], event["name"], event["source"]


def _minute(time: dt.datetime) -> dt.datetime:
    return time.replace(second=0, microsecond=0)


def _statuses(group: Sequence[Record]) -> list[int]:
    statuses = Counter(d["status"] for d in group)
    return [statuses[name] for name in ("approved", "rejected", "pending_review")]


def _groups(records: Iterable[Record], key: Callable[[Record], Row]) -> dict[Row, list[Record]]:
    found: dict[Row, list[Record]] = defaultdict(list)
    for record in records:
        found[key(record)].append(record)
    return found
