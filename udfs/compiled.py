"""Functions compiled to machine code by numba, kept on disk so that a worker starts at once.

What runs for every upload over arrays of bytes or code points is compiled; `scripts/setup`
compiles it once, and workers load the result. Where no folder can be written (a read-only
image whose files were not compiled when it was built) a worker compiles for itself, in memory.

What is kept is renewed when the file of the function changes, and only then: numba does not see
that a function called, or a constant read, in another file has changed. So compiled functions
that call each other, and the constants they read, stand in one file (a test looks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

BYTES: Final = numba.types.Array(numba.uint8, 1, "C", readonly=True)
"""`numpy.frombuffer` over `bytes`."""
CODES: Final = numba.types.Array(numba.uint32, 1, "C", readonly=True)
"""`numpy.frombuffer` over a text in UTF-32."""


def compiled(signature: Any) -> Callable[[F], F]:
    """Compile a function for one signature, when its module is imported.

    Args:
        signature: numba types of result and arguments, `result(arg, ...)`.
    """

    def compile_(function: F) -> F:
        try:
            return cast("F", numba.njit(signature, cache=True)(function))
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return cast("F", numba.njit(signature)(function))

    return compile_
