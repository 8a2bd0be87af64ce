"""One module for each case of the benchmark."""
