"""Runs another module with its settings pointed at the local stack, if that is up.

    python -m scripts.cli.on_stack MODULE [ARGUMENTS...]

Addresses that the environment already names stay as they are.
"""

from __future__ import annotations

import os
import runpy
import sys

from scripts.cli.local_stack import Stack


def point_at_stack() -> None:
    """Complete the environment by the addresses of the local stack, as far as that is up."""
    stack = Stack()
    up = {
        "SLUICE_KAFKA__BOOTSTRAP": stack.kafka_up,
        "SLUICE_REDIS__URL": stack.redis_up,
    }
    for name, address in stack.environment().items():
        if name not in os.environ and up[name]():
            os.environ[name] = address


def main() -> None:
    """Complete the environment, then become the module."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if "--help" not in sys.argv:
        point_at_stack()
    module = sys.argv[1]
    del sys.argv[:2]
    sys.argv.insert(0, module)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
