"""What the benchmark says about its figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.errors import SluiceError
from scripts.cli.bench.aims import aims
from scripts.cli.bench.command import CASES, bench
from scripts.cli.bench.report import BEGIN, END, markdown, put_into
from tests.bench_result import result


def test_the_report_names_every_case() -> None:
    text = markdown(result())
    assert "| P99 at 1,200/s | <= 50 ms | 22 ms | yes |" in text
    assert "| Sustained, open loop | >= 5,000/s | 4,000/s | **no** |" in text
    assert "| Engine, CPU an upload | <= 90 us | 82 us | yes |" in text
    assert "9,000 | 12.1 |" in text
    assert "0 lost, 0 contradicting, 0 dropped, 0 miscounted" in text
    assert "quiet machine" not in text
    assert set(result()["cases"]) == set(CASES)


@pytest.mark.parametrize("missing", sorted(CASES))
def test_a_report_does_without_any_case(missing: str) -> None:
    found = result()
    del found["cases"][missing]
    assert "Measured 2026-01-02" in markdown(found)


def test_a_report_of_nothing_says_what_failed() -> None:
    found = result() | {"cases": {}, "failed": ["state"]}
    assert "Not measured, because the case failed: state." in markdown(found)


def test_a_busy_machine_is_named() -> None:
    found = result()
    found["cases"]["latency"]["levels"][0]["busy"]["others"] = 0.8
    assert "Not a quiet machine: others kept up to 0.80 processors busy" in markdown(found)


def test_an_aim_that_is_missed_is_missed() -> None:
    found = result()["cases"]
    found["kill"]["lost"] = 10
    found["patch"]["acted"] = 2
    missed = {aim.name for aim in aims(found) if not aim.met}
    assert {"`kill -9` in a backlog", "A rule acts after it was published"} <= missed


def test_the_document_gets_the_table_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "BENCHMARKS.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(document, "new\n")
    put_into(document, "newer\n")
    assert document.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"


def test_the_report_is_written_beside_the_figures(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    out.write_text(json.dumps(result()))
    bench(out, render=True)
    assert "P99 at 1,200/s" in (tmp_path / "bench.md").read_text()
    charts = sorted(path.name for path in (tmp_path / "img").glob("*.png"))
    assert charts == [
        f"bench-{name}.png" for name in ("batch", "cpu", "latency", "stages", "state")
    ]
    assert (tmp_path / "img" / "bench-cpu.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_arguments_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match=r"x\.txt should end in \.json"):
        bench(tmp_path / "x.txt")
    with pytest.raises(SluiceError, match="no case none; there are: loop, drained"):
        bench(tmp_path / "x.json", only=["none"])


def test_both_tiers_have_their_tables_and_aim() -> None:
    text = markdown(result())
    assert "leaves 21.0% of them to the heavy one" in text
    assert "| Heavy tier | 5,000.0 | 200 |" in text
    assert "| P99 at 1,200/s, both text tiers | <= 150 ms | 90 ms | yes |" in text
    assert "6.0% of the uploads were shed" in text


def test_the_tables_job_has_its_table() -> None:
    text = markdown(result())
    assert "100,000 records 9,000 rows/s" in text
    assert "5.0 s behind on average and 10.0 s at most" in text
    row = next(line for line in text.splitlines() if line.startswith("| beside the tables job |"))
    assert [cell.strip() for cell in row.split("|")][3:5] == ["44", "88"]


def test_texts_beside_media_have_their_table() -> None:
    text = markdown(result())
    assert "a backlog of 400 clips" in text
    row = next(line for line in text.splitlines() if line.startswith("| beside a backlog |"))
    assert [cell.strip() for cell in row.split("|")][3:6] == ["31", "62", "12"]
