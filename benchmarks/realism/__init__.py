"""Do synthetic lesions look like real ones: shape, appearance, place, and whether they were learnt by heart.

`python -m benchmarks.realism GENERATED --reference REAL` judges a data set, `make` makes some without a network, and
`floors|baselines|generator|masks|held|appearing|page` are studies of the shared data.
"""
