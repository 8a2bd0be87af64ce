"""The modules behind the executables in `scripts/`."""
