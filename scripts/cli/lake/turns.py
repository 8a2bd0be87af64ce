"""Who may write the tables: one at a time.

The job that fills them compacts them as well. Somebody else who rewrites files at the same time
would take away files that the job is about to compact; Paimon notices, and the job fails and
starts again. So the job and the commands that delete take turns, by a lock beside the tables.
"""

from __future__ import annotations

import contextlib
import fcntl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.errors import SluiceError

_LOCK: Final = "writer.lock"


class TablesBusyError(SluiceError):
    """Somebody else writes the tables now."""


@contextlib.contextmanager
def writing(warehouse: str, who: str) -> Iterator[None]:
    """Hold the turn to write.

    Args:
        warehouse: URI of the tables' folder. Only on a file system of this machine is there a
            lock; elsewhere whoever runs the commands takes care.
        who: for the error of the next one.

    Raises:
        TablesBusyError: somebody else has it.
    """
    parts = urllib.parse.urlsplit(warehouse)
    if parts.scheme != "file":
        yield
        return
    folder = Path(urllib.parse.unquote(parts.path))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise TablesBusyError(
                f"{lock.read().strip() or 'another command'} writes the tables in {folder};"
                " stop it first (scripts/run_tables goes on with --resume afterwards)"
            ) from None
        lock.truncate(0)
        lock.write(who)
        lock.flush()
        yield
