"""Code that travels with a job: kept where it lasts, and loaded instead of an older job's.

In thread mode Python runs inside the TaskManager's own process, and that process outlives jobs:

- What `import` has loaded stays loaded. A job that is upgraded on the same TaskManager would run
  the code, and read the configuration beside it, of the job before it.
- Flink unpacks a job's files for as long as its tasks run. After a failover the modules that
  are loaded would look for their files in a folder that is gone.

So a function that is submitted carries a prologue, pickled by value and therefore independent
of what is installed or loaded there: it copies the job's files to a folder that stays, named by
their content, forgets modules that were loaded from anywhere else, and unpickles the function.

One TaskManager must run one job at a time (one slot a TaskManager), or the jobs would forget
each other's modules.
"""

from __future__ import annotations

import copyreg
import functools
import sys
from collections.abc import Iterable
from typing import Any, Final

import cloudpickle  # type: ignore[import-untyped]  # ships no type information

PACKAGES: Final = ("schemas", "udfs", "operators", "jobs")
"""Top-level packages that travel."""


def ship(functions: Iterable[type], package: str) -> None:
    """Make instances of these classes bring their code, from now on in this process.

    Args:
        functions: classes of functions that jobs hand to PyFlink.
        package: name of the folder of files that is submitted beside the job, such as
            `sluice-0123456789ab`. It must change with its content.
    """
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    for function in functions:
        copyreg.pickle(function, functools.partial(_reduce, package))


def _reduce(package: str, function: object) -> tuple[Any, ...]:
    # By its class and fields, or this very reducer would be asked again.
    payload = cloudpickle.dumps((type(function), function.__dict__))
    return arrive, (package, PACKAGES, payload)


def arrive(  # noqa: C901 - pickled by value, so it has to be one function
    package: str, packages: tuple[str, ...], payload: bytes
) -> object:
    """Unpickle a function with the job's own code. Runs where the function does.

    Args:
        package: as `ship` was told.
        packages: top-level packages to forget if they came from elsewhere.
        payload: class and fields, pickled.

    Raises:
        RuntimeError: where Flink has not unpacked the job's files.
    """
    # All imports are here: this function is pickled by value, without its module.
    import glob  # noqa: PLC0415 - see above
    import importlib  # noqa: PLC0415
    import os  # noqa: PLC0415
    import pickle  # noqa: PLC0415
    import shutil  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    found = [p for p in sys.path if os.path.basename(p) == package and os.path.isdir(p)]  # noqa: PTH112, PTH119 - sys.path holds strings
    if not found:
        raise RuntimeError(f"the job's files {package} are not on Python's path: {sys.path}")
    # Flink unpacks into TMP/python-dist-ID/python-files/...; what is kept lies beside that.
    tmp, unpacked, _ = found[0].partition("/python-dist-")
    home = found[0] if not unpacked else f"{tmp}/sluice-code-{os.getuid()}/{package}"
    if unpacked:
        kept = os.path.dirname(home)  # noqa: PTH120 - see above
        os.makedirs(kept, mode=0o700, exist_ok=True)  # noqa: PTH103 - see above
        status = os.stat(kept)  # noqa: PTH116 - see above
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise RuntimeError(f"others may write to {kept}: code from there will not be run")
        if not os.path.isdir(home):  # noqa: PTH112 - see above
            partial = tempfile.mkdtemp(prefix=f"{package}.", dir=kept)
            shutil.copytree(found[0], partial, dirs_exist_ok=True)
            try:
                os.rename(partial, home)  # noqa: PTH104 - see above
            except OSError:  # a neighbour was as quick
                shutil.rmtree(partial, ignore_errors=True)
                if not os.path.isdir(home):  # noqa: PTH112 - see above
                    raise
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            file = getattr(module, "__file__", None) or ""
            if not file.startswith(home + os.sep):
                del sys.modules[name]
    path = [home]
    for entry in sys.path:
        before, archived, within = entry.partition("/python-archives/")
        if archived and not os.path.isdir(entry):  # noqa: PTH112 - see above
            # An archived interpreter goes on where it is unpacked now.
            parent = os.path.dirname(before)  # noqa: PTH120 - see above
            path += glob.glob(f"{parent}/python-dist-*/python-archives/{within}")[:1]  # noqa: PTH207 - see above
        elif "/python-files/" not in entry and "/sluice-code-" not in entry:
            path.append(entry)
    sys.path[:] = path
    importlib.invalidate_caches()
    function_class, fields = pickle.loads(payload)  # noqa: S301 - from the job's own submission
    function = function_class.__new__(function_class)
    function.__dict__.update(fields)
    return function
