"""What the documents say about the code is true."""

from __future__ import annotations

from operators.metrics import BOUNDS, CATALOGUE
from schemas.settings import ROOT


def test_every_metric_is_documented_with_its_unit_and_labels() -> None:
    text = (ROOT / "docs" / "METRICS.md").read_text("utf-8")
    for metric in CATALOGUE:
        labels = ", ".join(metric.labels) or "-"
        row = f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} |"
        assert row in text


def test_every_histogram_has_bounds() -> None:
    assert {m.name for m in CATALOGUE if m.kind == "histogram"} == set(BOUNDS)
