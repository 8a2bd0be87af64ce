"""Fine-tuning: masked loss, counterfactual consistency, early stopping, checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses as dc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import SluiceError
from scripts.cli import training_metrics
from scripts.cli.deep import network
from scripts.cli.deep.data import Batch, Rows, batches, padded, positive_weights

CHECKPOINT: Final = "checkpoint.pt"
WARM_UP: Final = 0.06
"""Share of the steps in which the learning rate rises."""
CLIP: Final = 1.0
LEAST_POSITIVES: Final = 10
"""Positives that a category needs on the holdout to count for early stopping."""
_TIMED_STEPS: Final = 20

Progress = Callable[[str], None]


@dc.dataclass(frozen=True)
class Plan:
    """How to train."""

    epochs: float = 2.0
    batch: int = 48
    tokens: int = 96
    """Of a training text, special ones included."""
    rate: float = 5e-5
    """Highest learning rate; the head learns ten times as fast."""
    decay: float = 0.01
    consistency: float = 0.5
    """What the distance between a text and its counterfactual weighs beside the loss."""
    distil: float = 0.5
    """What the teacher's scores weigh beside the labels, where there is a teacher."""
    positive_weight: float = 4.0
    """Most that a positive weighs beside a negative."""
    evaluations: int = 3
    """Of the holdout, an epoch."""
    patience: int = 4
    """Evaluations without gain after which training stops."""
    seed: int = 7
    max_minutes: float = 0.0
    """0: no limit. Else training is cut to as many steps as fit, measured on the first ones."""
    save_minutes: float = 3.0


class Texts:
    """One split, ready to be cut into batches."""

    def __init__(
        self,
        rows: Rows,
        ids: list[npt.NDArray[np.int32]],
        special: tuple[list[int], list[int]],
        pad: int,
    ) -> None:
        self.rows = rows
        self.ids = ids
        self.special = special
        self.pad = pad
        self.teacher: npt.NDArray[np.float32] | None = None
        """Probabilities of the teacher, shape of the labels."""
        # Any part of a clean text is clean; what makes a text abusive may stand anywhere.
        self.clean = ~(rows.labels == 1).any(axis=1) & (rows.labels[:, 0] == 0)

    def tensors(self, chosen: Sequence[int], most: int, starts: Sequence[int] | None = None) -> Any:
        """Ids and mask of the chosen rows."""
        before, after = self.special
        own = [self.ids[i] for i in chosen]
        ids, mask = padded(own, before, after, most, self.pad, starts)
        return torch.from_numpy(ids), torch.from_numpy(mask)


def fit(
    model: Any, train: Texts, holdout: Texts, plan: Plan, out: Path, *, resume: bool, say: Progress
) -> dict[str, Any]:
    """Fine-tune in place; the model ends with the weights that were best on the holdout.

    The same seed gives the same weights on the same machine and threads, interrupted or not,
    unless the time limit cuts the steps.

    Args:
        model: a `network.TextClassifier`.
        train: fitted.
        holdout: stops training.
        plan: how.
        out: where the checkpoint is kept while training.
        resume: go on from the checkpoint there.
        say: shows progress.

    Returns:
        What happened: steps, seconds, history of the holdout's mean average precision.

    Raises:
        SluiceError: nothing to resume, or the checkpoint belongs to other data or another plan.
    """
    where = network.device()
    model.to(where)
    run = _Run(model, train, holdout, plan, out, where, say)
    if resume:
        run.restore()
    run.go()
    return run.report()


class _Run:
    def __init__(
        self,
        model: Any,
        train: Texts,
        holdout: Texts,
        plan: Plan,
        out: Path,
        where: Any,
        say: Progress,
    ) -> None:
        self.model, self.train, self.holdout = model, train, holdout
        self.plan, self.out, self.where, self.say = plan, out, where, say
        head = list(model.head.parameters())
        body = list(model.encoder.parameters())
        self.optimiser = torch.optim.AdamW(
            [{"params": body, "lr": plan.rate}, {"params": head, "lr": plan.rate * 10}],
            weight_decay=plan.decay,
        )
        self.bf16 = network.has_bf16(where)
        self.positive = torch.from_numpy(positive_weights(train.rows, plan.positive_weight)).to(
            where
        )
        # The mean row weighs 1, whatever the data set's weights are.
        self.scale = float(1.0 / max(train.rows.weights.sum(axis=1).mean(), 1e-9))
        lengths = [min(len(ids), plan.tokens) for ids in train.ids]
        self._batches: Callable[[int], list[Batch]] = lambda epoch: batches(
            lengths, train.rows.partner, plan.batch, seed=plan.seed, epoch=epoch
        )
        self.per_epoch = len(self._batches(0))
        self.total = max(1, round(self.per_epoch * plan.epochs))
        self.step = 0
        self.spent = 0.0
        self.best = -1.0
        self.best_state: dict[str, Any] | None = None
        self.worse = 0
        self.history: list[dict[str, float]] = []

    def go(self) -> None:
        """Until the last step, or until the holdout stops it."""
        started = saved = time.monotonic()
        before = self.spent
        every = max(1, self.per_epoch // self.plan.evaluations)
        losses: list[float] = []
        stopped = self.worse >= self.plan.patience
        for epoch, batch in self._left():
            if stopped or self.step >= self.total:
                break
            losses.append(self._learn(batch, epoch))
            self.step += 1
            self.spent = before + time.monotonic() - started
            self._cut()
            if self.step % 25 == 0:
                self._tell(losses[-200:])
            if self.step % every == 0 or self.step >= self.total:
                stopped = self._evaluate()
            if time.monotonic() - saved > self.plan.save_minutes * 60:
                self.save()
                saved = time.monotonic()
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        self.save()

    def _left(self) -> Iterator[tuple[int, Batch]]:
        epoch, skip = divmod(self.step, self.per_epoch)
        while True:
            yield from ((epoch, batch) for batch in self._batches(epoch)[skip:])
            epoch, skip = epoch + 1, 0

    def _learn(self, batch: Batch, epoch: int) -> float:
        """One step; its loss."""
        # Dropout and windows depend on the step alone, so that resuming changes nothing.
        torch.manual_seed(self.plan.seed * 1_000_003 + self.step)
        share = self.step / self.total
        factor = min(1.0, share / WARM_UP) * (1 - share) if WARM_UP else 1 - share
        for group, rate in zip(
            self.optimiser.param_groups, (self.plan.rate, self.plan.rate * 10), strict=True
        ):
            group["lr"] = rate * max(factor, 1e-3)
        self.model.train()
        rng = np.random.default_rng((self.plan.seed, epoch, batch.rows[0]))
        starts = [self._start(i, rng) for i in batch.rows]
        ids, mask = self.train.tensors(batch.rows, self.plan.tokens, starts)
        with self._cast():
            logits = self.model(ids.to(self.where), mask.to(self.where))
        loss = self._loss(logits, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimiser.step()
        return float(loss.detach())

    def _start(self, row: int, rng: np.random.Generator) -> int:
        spare = len(self.train.ids[row]) - self.plan.tokens
        return int(rng.integers(0, spare)) if self.train.clean[row] and spare > 0 else 0

    def _loss(self, logits: Any, batch: Batch) -> Any:
        rows = self.train.rows
        weights = torch.from_numpy(rows.weights[batch.rows]).to(self.where)
        labels = torch.from_numpy(np.nan_to_num(rows.labels[batch.rows])).to(self.where)
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, labels, weight=weights, pos_weight=self.positive, reduction="sum"
        )
        loss = loss * self.scale / len(batch.rows)
        if self.train.teacher is not None:
            soft = torch.from_numpy(self.train.teacher[batch.rows]).to(self.where)
            told = nn.functional.binary_cross_entropy_with_logits(logits, soft)
            loss = (1 - self.plan.distil) * loss + self.plan.distil * told * logits.shape[1]
        if batch.pairs and self.plan.consistency:
            first, second = zip(*batch.pairs, strict=True)
            apart = nn.functional.smooth_l1_loss(
                logits[list(first)], logits[list(second)], reduction="sum"
            )
            loss = loss + self.plan.consistency * apart / len(batch.rows)
        return loss

    def _evaluate(self) -> bool:
        """Note how good the holdout is; true where training should stop."""
        scores = predict(self.model, self.holdout, self.plan.tokens)
        quality = mean_precision(self.holdout.rows, scores)
        self.history.append({"step": float(self.step), "mean_average_precision": round(quality, 5)})
        if quality > self.best:
            self.best, self.worse = quality, 0
            self.best_state = {
                name: value.detach().cpu().clone()
                for name, value in self.model.state_dict().items()
            }
        else:
            self.worse += 1
        self.say(f"step {self.step}: mean average precision {quality:.4f} (best {self.best:.4f})")
        return self.worse >= self.plan.patience

    def _tell(self, losses: list[float]) -> None:
        left = self.spent / self.step * (self.total - self.step) / 60
        self.say(
            f"step {self.step} of {self.total}, loss {np.mean(losses):.4f}, "
            f"{self.spent / self.step:.2f} s a step, {left:.0f} min left"
        )

    def _cut(self) -> None:
        """Fewer steps where the time limit says so; measured once, so that rates fall to 0."""
        if self.step != _TIMED_STEPS or not self.plan.max_minutes:
            return
        fits = int(self.plan.max_minutes * 60 / (self.spent / self.step))
        if fits < self.total:
            self.total = max(_TIMED_STEPS + 1, fits)
            self.say(f"{self.plan.max_minutes:g} minutes are enough for {self.total} steps")

    def _cast(self) -> Any:
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.where.type, dtype=torch.bfloat16)

    def _identity(self) -> dict[str, Any]:
        return {
            "plan": dc.asdict(self.plan),
            "rows": len(self.train.ids),
            "batches": self.per_epoch,
        }

    def save(self) -> None:
        """Write the checkpoint, under another name first: a reader never sees half of it."""
        part = self.out / f".{CHECKPOINT}.part"
        torch.save(
            {
                **self._identity(),
                "model": self.model.state_dict(),
                "best_state": self.best_state,
                "optimiser": self.optimiser.state_dict(),
                "best": self.best,
                "worse": self.worse,
                "step": self.step,
                "spent": self.spent,
                "total": self.total,
                "history": self.history,
            },
            part,
        )
        part.replace(self.out / CHECKPOINT)

    def restore(self) -> None:
        """Go on where the checkpoint stands."""
        path = self.out / CHECKPOINT
        if not path.is_file():
            raise SluiceError(f"{path}: nothing to resume; leave --resume out")
        kept = torch.load(path, map_location="cpu", weights_only=True)
        same = {name: kept[name] for name in self._identity()}
        if same != self._identity():
            raise SluiceError(f"{path}: belongs to other data or options; start without --resume")
        self.model.load_state_dict(kept["model"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.best_state, self.best, self.worse = kept["best_state"], kept["best"], kept["worse"]
        self.step, self.spent, self.total = kept["step"], kept["spent"], kept["total"]
        self.history = kept["history"]
        self.say(f"resumed at step {self.step} of {self.total}")

    def report(self) -> dict[str, Any]:
        return {
            "steps": self.step,
            "planned_steps": self.total,
            "steps_per_epoch": self.per_epoch,
            "seconds": round(self.spent),
            "bf16": self.bf16,
            "device": self.where.type,
            "history": self.history,
        }


def predict(model: Any, texts: Texts, tokens: int, size: int = 64) -> npt.NDArray[np.float32]:
    """Logits of every row's first window, shape (rows, categories)."""
    where = next(model.parameters()).device
    model.eval()
    out = np.zeros((len(texts.ids), len(TEXT_CATEGORIES)), np.float32)
    order = sorted(range(len(texts.ids)), key=lambda i: len(texts.ids[i]))
    cast = (
        torch.autocast(where.type, dtype=torch.bfloat16)
        if network.has_bf16(where)
        else contextlib.nullcontext()
    )
    with torch.no_grad(), cast:
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            ids, mask = texts.tensors(rows, tokens)
            out[rows] = model(ids.to(where), mask.to(where)).float().cpu().numpy()
    return out


def mean_precision(rows: Rows, scores: npt.NDArray[np.float32]) -> float:
    """Mean over the categories of average precision, where the holdout can tell.

    Raises:
        SluiceError: it can tell of no category.
    """
    found = []
    for i in range(scores.shape[1]):
        known = ~np.isnan(rows.labels[:, i])
        labels = rows.labels[known, i].astype(np.float64)
        if labels.sum() >= LEAST_POSITIVES and (labels == 0).sum() >= LEAST_POSITIVES:
            own = scores[known, i].astype(np.float64)
            found.append(training_metrics.average_precision(labels, own))
    if not found:
        raise SluiceError(
            f"the holdout has no category with {LEAST_POSITIVES} texts of each kind to stop on"
        )
    mean = float(np.mean(found))
    return mean if math.isfinite(mean) else -1.0
