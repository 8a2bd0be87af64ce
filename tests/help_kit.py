"""What commands say to `--help`, all of them asked in one process: most of a start is imports."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import subprocess
import sys
from typing import Final, NamedTuple

from schemas.settings import ROOT

COMMANDS: Final = sorted(
    path.name
    for path in (ROOT / "scripts").iterdir()
    if path.is_file() and not path.suffix and not path.name.startswith("_")
)
"""What people type, without `scripts/`."""
_WRAPPER: Final = re.compile(r'^exec "\S.*/_run" (scripts\.cli\.[\w. ]+) "\$@"$', re.MULTILINE)
_ASKED: Final = """
import contextlib, io, json, runpy, sys
for line in sys.stdin:
    sys.argv = json.loads(line)
    said, wrong, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
        try:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([status, said.getvalue(), wrong.getvalue()]), flush=True)
"""


class Help(NamedTuple):
    """An answer."""

    status: int
    said: str
    wrong: str


@functools.cache
def help_of(*command: str) -> Help:
    """What a command, or a command's command, says to `--help`.

    A command that is more than a way into a module is run as it is; of the others, the module
    that they name is.
    """
    path = ROOT / "scripts" / command[0]
    inside = _WRAPPER.search(path.read_text("utf-8"))
    if inside is None:
        done = subprocess.run(
            [path, *command[1:], "--help"], capture_output=True, text=True, check=False
        )
        return Help(done.returncode, done.stdout, done.stderr)
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([*inside[1].split(), *command[1:], "--help"]) + "\n")
    process.stdin.flush()
    return Help(*json.loads(process.stdout.readline()))


@functools.cache
def _process() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _ASKED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    atexit.register(process.kill)
    return process
