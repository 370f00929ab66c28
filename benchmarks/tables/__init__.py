"""Tables and figures of `benchmarks/README.md`, made from the files in `benchmarks/results`."""
