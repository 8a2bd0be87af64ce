"""A small convolutional network for squares, trained in minutes, and its ONNX file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from schemas.errors import SluiceError
from scripts.cli.image.gallery import Pictures
from udfs.pixels import Squares

OPSET: Final = 17
EXACT: Final = 1e-3
"""Most that a logit of the exported file may differ from the network's."""
MEAN: Final = (0.5, 0.5, 0.5)
DEVIATION: Final = (0.25, 0.25, 0.25)
_BLOCKS: Final = ((16, 32, 2), (32, 64, 2), (64, 64, 1), (64, 96, 2), (96, 96, 1), (96, 128, 2))
"""Channels in, channels out, stride."""
_SMOOTHING: Final = 0.02
Say = Callable[[str], None]


class Plan(NamedTuple):
    """How long and how fast to train."""

    epochs: int = 8
    batch: int = 64
    rate: float = 4e-3
    seed: int = 7


def _unit(into: int, out: int, stride: int, *, groups: int = 1, kernel: int = 3) -> Any:
    return nn.Sequential(
        nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(),
    )


def network() -> Any:
    """Depthwise-separable convolutions (Howard et al. 2017, MobileNets) to one logit."""
    layers = [_unit(3, 16, 2)]
    for into, out, stride in _BLOCKS:
        layers += [_unit(into, into, stride, groups=into), _unit(into, out, 1, kernel=1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(_BLOCKS[-1][1], 1)]
    return nn.Sequential(*layers, *head)


def train(pictures: Pictures, plan: Plan, say: Say) -> Any:
    """Fit a network.

    Args:
        pictures: to fit.
        plan: how long.
        say: shows progress.
    """
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    model = network().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=0.01)
    count = len(pictures.labels)
    steps = -(-count // plan.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.rate, total_steps=steps * plan.epochs
    )
    for epoch in range(plan.epochs):
        order = rng.permutation(count)
        total = 0.0
        for step in range(steps):
            rows = order[step * plan.batch : (step + 1) * plan.batch]
            squares = _changed(pictures.squares[rows], rng)
            wanted = torch.from_numpy(pictures.labels[rows].astype(np.float32))
            logits = model(values(squares))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, wanted * (1 - _SMOOTHING) + _SMOOTHING / 2
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        say(f"epoch {epoch + 1} of {plan.epochs}: loss {total / count:.4f}")
    return model.eval()


def values(squares: Squares) -> Any:
    """Squares as the network's input, shape (pictures, 3, side, side)."""
    planes = torch.from_numpy(np.ascontiguousarray(squares.transpose(0, 3, 1, 2))).float() / 255
    mean, deviation = (torch.tensor(own).reshape(1, 3, 1, 1) for own in (MEAN, DEVIATION))
    return (planes - mean) / deviation


def logits(model: Any, squares: Squares, batch: int = 64) -> npt.NDArray[np.float64]:
    """What the network says of squares, shape (pictures,)."""
    with torch.no_grad():
        parts = [
            model(values(squares[first : first + batch]))[:, 0].double().numpy()
            for first in range(0, len(squares), batch)
        ]
    return np.concatenate(parts)


def export(model: Any, side: int, path: Path) -> None:
    """Write the ONNX file, and see that it computes what the network does.

    Raises:
        SluiceError: it does not.
    """
    probe = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracing exporter, which folds batch norms
        torch.onnx.export(
            model,
            (values(probe[:2]),),
            str(path),
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(str(path)))
    verify(path, values(probe).numpy(), model)


def verify(path: Path, pixels: npt.NDArray[np.float32], model: Any) -> float:
    """Largest difference of an output from the network's.

    Args:
        path: of the ONNX file.
        pixels: its input.
        model: gives a tensor, or something with `logits`.

    Raises:
        SluiceError: it is more than rounding.
    """
    import onnxruntime as ort  # noqa: PLC0415 - beside PyTorch only here

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got, *_) = session.run(None, {session.get_inputs()[0].name: pixels})
    with torch.no_grad():
        out = model(torch.from_numpy(pixels))
    expected = getattr(out, "logits", out).numpy()
    distance = float(np.abs(got - expected).max())
    if not distance <= EXACT * max(1.0, float(np.abs(expected).max())):
        raise SluiceError(f"the exported model differs from the network by {distance:.2g}")
    return distance


def _changed(squares: Squares, rng: np.random.Generator) -> Squares:
    """As the same picture might have come: shifted, mirrored, in other light, partly covered."""
    out = squares.astype(np.float32)
    count, side = len(out), out.shape[1]
    for row in range(count):
        if rng.random() < 0.15:  # what mirrors a banner must not hide it
            out[row] = out[row, :, ::-1]
        shift = rng.integers(-side // 12, side // 12 + 1, 2)
        out[row] = np.roll(out[row], tuple(int(part) for part in shift), (0, 1))
        if rng.random() < 0.2:
            x, y = rng.integers(0, side, 2)
            out[row, y : y + side // 4, x : x + side // 4] = rng.integers(0, 256, 3)
    light = rng.uniform(0.7, 1.3, (count, 1, 1, 1)) * rng.uniform(0.85, 1.15, (count, 1, 1, 3))
    out = out * light + rng.uniform(-25, 25, (count, 1, 1, 1))
    grey = rng.random((count, 1, 1, 1)) < 0.1
    out = np.where(grey, out.mean(3, keepdims=True), out)
    return np.asarray(out.clip(0, 255), np.uint8)
