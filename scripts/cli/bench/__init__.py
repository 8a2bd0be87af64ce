"""The benchmark: load, measurement, and one module for each case."""
