"""All benchmarks of speed, one after the other, in one table and one figure."""
