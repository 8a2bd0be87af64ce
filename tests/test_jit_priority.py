"""The optimising compiler's threads stand back, and no others."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from operators.jit_priority import NICE, compilers_stand_back


@pytest.mark.skipif(sys.platform != "linux", reason="threads are looked up in /proc")
def test_only_compilers_get_a_lower_priority() -> None:
    done, ready = threading.Event(), threading.Barrier(3)
    ids: dict[str, int] = {}

    def run(name: str) -> None:
        ids[name] = threading.get_native_id()
        Path(f"/proc/self/task/{ids[name]}/comm").write_text(name)
        ready.wait()
        done.wait()

    names = ("C2 CompilerThre", "moderate -> Dat")
    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    ready.wait()
    before = os.getpriority(os.PRIO_PROCESS, ids["moderate -> Dat"])
    found = compilers_stand_back()
    after = {name: os.getpriority(os.PRIO_PROCESS, ids[name]) for name in names}
    done.set()
    for thread in threads:
        thread.join()
    assert found == 1
    assert after == {"C2 CompilerThre": max(NICE, before), "moderate -> Dat": before}


def test_where_there_is_no_proc_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    assert compilers_stand_back(tmp_path) == compilers_stand_back(tmp_path / "none") == 0
