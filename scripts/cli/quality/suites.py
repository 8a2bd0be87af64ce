"""Our suites as Great Expectations suites, run over a table.

Great Expectations is imported here and nowhere else, and only when a suite is run: it takes
seconds. Its usage statistics are switched off.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pandas as pd

from schemas.quality import QualityCheck
from scripts.cli.quality.config import ColumnCheck, Severity, ShareCheck, SuiteConfig
from scripts.cli.quality.frames import Table

MOST_PLACES: Final = 10
"""Rows that a result names."""
_SHARE: Final = "share "
"""How the name of a helper column begins whose mean is a share."""


class _Check(NamedTuple):
    id: str
    severity: Severity
    about: str
    kind: str
    """Class of the expectation."""
    arguments: dict[str, Any]
    expected: str


def run(config: SuiteConfig, table: Table, name: str) -> list[QualityCheck]:
    """Check a table.

    Args:
        config: the suite.
        table: as `frames.read` made it for the suite's reader.
        name: of the suite.

    Returns:
        One result for each check, in the order of the file.
    """
    checks = list(_checks(config, table))
    if table.frame.empty:
        checks = checks[:1]  # whose columns could be looked at?
    frame = _checkable(config, table.frame)
    results = _validate(checks, frame, name)
    out = []
    for check in checks:
        raw = results.get(check.id)
        out.append(_empty(check, config, table) if raw is None else _result(check, raw, table))
    return out


def _checks(config: SuiteConfig, table: Table) -> Iterator[_Check]:
    rows = config.rows
    yield _Check(
        "rows", "error", "How many rows there are.", "ExpectTableRowCountToBeBetween",
        {"min_value": rows.min, "max_value": rows.max}, between(rows.min, rows.max),
    )  # fmt: skip
    if not config.more_columns:
        helpers = {_SHARE + share for share in config.shares}
        known = sorted({*config.columns, *table.derived, *helpers})
        yield _Check(
            "more_columns", "error", "Columns that nobody asked for may hold the answer.",
            "ExpectTableColumnsToMatchSet", {"column_set": known, "exact_match": True},
            "no other columns",
        )  # fmt: skip
    for column, check in config.columns.items():
        if column in table.frame or not check.optional:
            yield from _column(column, check)
    for share, wanted in config.shares.items():
        yield _Check(
            f"shares.{share}", wanted.severity, wanted.about, "ExpectColumnMeanToBeBetween",
            {"column": _SHARE + share, "min_value": wanted.min, "max_value": wanted.max},
            between(wanted.min, wanted.max),
        )  # fmt: skip


def _column(column: str, check: ColumnCheck) -> Iterator[_Check]:
    def made(part: str, kind: str, expected: str, **arguments: Any) -> _Check:
        about = check.about
        name = f"columns.{column}.{part}"
        return _Check(name, check.severity, about, kind, {"column": column, **arguments}, expected)

    mostly = 1.0 - check.bad_share
    yield made("there", "ExpectColumnToExist", "the column is there")
    if check.null_share < 1:
        yield made(
            "given", "ExpectColumnValuesToNotBeNull",
            f"at most {check.null_share:.4g} without a value", mostly=1.0 - check.null_share,
        )  # fmt: skip
    if check.values is not None:
        yield made(
            "values", "ExpectColumnValuesToBeInSet",
            "one of " + ", ".join(map(str, check.values)),
            value_set=list(check.values), mostly=mostly,
        )  # fmt: skip
    if check.min is not None or check.max is not None:
        yield made(
            "range", "ExpectColumnValuesToBeBetween", between(check.min, check.max),
            min_value=check.min, max_value=check.max, mostly=mostly,
        )  # fmt: skip
    if check.min_length is not None or check.max_length is not None:
        yield made(
            "length", "ExpectColumnValueLengthsToBeBetween",
            between(check.min_length, check.max_length) + " characters",
            min_value=check.min_length, max_value=check.max_length, mostly=mostly,
        )  # fmt: skip
    if check.unique:
        yield made("unique", "ExpectColumnValuesToBeUnique", "no value twice", mostly=mostly)


def between(low: float | None, high: float | None) -> str:
    """`2 to 5`, `at least 2`, `at most 5`."""
    if high is None:
        return f"at least {low:.12g}"
    return f"at most {high:.12g}" if low is None else f"{low:.12g} to {high:.12g}"


def _checkable(config: SuiteConfig, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with what would stop a check made a value that fails it, and share columns."""
    out = frame.copy()
    for column, check in config.columns.items():
        if column not in out:
            continue
        if check.min is not None or check.max is not None:
            wrong = math.inf if check.max is not None else -math.inf
            out[column] = pd.Series(
                [_number(value, wrong) for value in out[column]], index=out.index, dtype=float
            )
        elif check.min_length is not None or check.max_length is not None:
            filler = "" if check.min_length else " " * ((check.max_length or 0) + 1)
            values = [v if v is None or isinstance(v, str) else filler for v in out[column]]
            out[column] = pd.Series(values, index=out.index, dtype=object)
    for name, share in config.shares.items():
        out[_SHARE + name] = _share(share, frame)
    return out


def _number(value: Any, wrong: float) -> float:
    if value is None:
        return math.nan
    return float(value) if isinstance(value, int | float) else wrong


def _share(share: ShareCheck, frame: pd.DataFrame) -> pd.Series[float]:
    """1 where the row has one of the values, 0 where another, NaN where it does not count."""
    out = pd.Series(math.nan, index=frame.index, dtype=float)
    if share.column not in frame or not set(share.among) <= set(frame.columns):
        return out
    counted = frame[share.column].notna()
    for column, value in share.among.items():
        counted &= frame[column] == value
    hit = frame[share.column].isin(list(share.values))
    out[counted] = hit[counted].astype(float)
    return out


def _validate(checks: list[_Check], frame: pd.DataFrame, name: str) -> dict[str, Any]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    # Looked up by name: the checks of types would follow all of it.
    gx: Any = importlib.import_module("great_expectations")
    kinds: Any = importlib.import_module("great_expectations.expectations")
    bars: Any = importlib.import_module("great_expectations.data_context.types.base")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = bars.ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("files")
    asset = source.add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    shares = {check.id for check in checks if check.id.startswith("shares.")}
    empty = {
        f"shares.{column.removeprefix(_SHARE)}"
        for column in frame.columns
        if column.startswith(_SHARE) and not frame[column].notna().any()
    }
    expectations = [
        getattr(kinds, check.kind)(**check.arguments, meta={"check": check.id})
        for check in checks
        if check.id not in shares & empty
    ]
    suite = gx.ExpectationSuite(name=name, expectations=expectations)
    found = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    return {
        result.expectation_config.meta["check"]: result.to_json_dict() for result in found.results
    }


def _result(check: _Check, raw: dict[str, Any], table: Table) -> QualityCheck:
    found = raw.get("result") or {}
    rows = int(found.get("element_count", len(table.frame)))
    unexpected = int(found.get("unexpected_count") or 0)
    observed: Any = found.get("observed_value")
    if isinstance(observed, list):
        extra = found.get("details", {}).get("mismatched", {}).get("unexpected", [])
        observed = ", ".join(extra)
    elif observed is None and "unexpected_count" in found:
        looked_at = rows - (found.get("missing_count") or 0)
        observed = round(unexpected / looked_at, 6) if looked_at else 0.0
    if any(info.get("raised_exception") for info in _exceptions(raw)):
        observed = "could not be checked: is the column there, and of one type?"
    elif not raw["success"] and check.kind == "ExpectColumnToExist":
        observed = "is not there"
    elif isinstance(observed, int | float):
        # numpy's numbers are no JSON.
        number = float(observed)
        observed = round(number, 6) if math.isfinite(number) else str(number)
    places = [table.places[int(i)] for i in found.get("unexpected_index_list") or ()]
    return QualityCheck(
        check=check.id,
        severity=check.severity,
        about=check.about,
        expectation=check.kind,
        expected=check.expected,
        success=bool(raw["success"]),
        observed=observed,
        unexpected=unexpected,
        rows=rows,
        places=places[:MOST_PLACES],
    )


def _exceptions(raw: dict[str, Any]) -> list[dict[str, Any]]:
    info = raw.get("exception_info") or {}
    return [info] if "raised_exception" in info else [v for v in info.values() if v]


def _empty(check: _Check, config: SuiteConfig, table: Table) -> QualityCheck:
    """A share of no rows: a fault only where rows of the kind lack values that are asked for."""
    share = config.shares[check.id.removeprefix("shares.")]
    frame = table.frame
    there = share.column in frame and set(share.among) <= set(frame.columns)
    kind = frame if there else frame.iloc[:0]
    for column, value in share.among.items() if there else ():
        kind = kind[kind[column] == value]
    lacking = share.min > 0 and not share.optional and (not there or len(kind) > 0)
    return QualityCheck(
        check=check.id,
        severity=check.severity,
        about=check.about,
        expectation=check.kind,
        expected=check.expected,
        success=not lacking,
        observed="no row has a value" if lacking else "no such rows",
        unexpected=0,
        rows=0,
        places=[],
    )
