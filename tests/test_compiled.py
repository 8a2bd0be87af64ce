"""Rules for compiled code that keep what is kept on disk true."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.velocity_kernel import BUCKET_S, BUCKETS
from schemas.features import WINDOWS_S
from schemas.settings import ROOT

_ALLOWED = {"udfs.compiled"}


def modules() -> Iterator[Path]:
    for folder in ("udfs", "operators"):
        for path in sorted((ROOT / folder).glob("*.py")):
            if "@compiled(" in path.read_text("utf-8") and path.name != "compiled.py":
                yield path


def globals_read(function: ast.FunctionDef) -> set[str]:
    return {n.id for n in ast.walk(ast.Module(function.body, [])) if isinstance(n, ast.Name)}


def is_compiled(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(d, ast.Call) and getattr(d.func, "id", "") == "compiled"
        for d in node.decorator_list
    )


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.name)
def test_compiled_functions_read_nothing_of_ours_from_other_files(path: Path) -> None:
    """Or a change there would leave stale machine code in the cache here."""
    tree = ast.parse(path.read_text("utf-8"))
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] in {"schemas", "udfs", "operators"}
        and node.module not in _ALLOWED
        for alias in node.names
    }
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and is_compiled(n)]
    assert functions
    for function in functions:
        assert not globals_read(function) & imported, function.name


def test_rings_are_as_long_as_their_windows() -> None:
    assert tuple(b * w for b, w in zip(BUCKETS, BUCKET_S, strict=True)) == WINDOWS_S
