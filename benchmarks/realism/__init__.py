"""Do synthetic lesions look like real ones: shape, appearance, place, and whether they were learnt by heart.

`python -m benchmarks.realism floors|baselines|generator|masks|held|appearing|page` prints the tables.
"""
