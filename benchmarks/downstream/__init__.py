"""Does segmentation get better? Networks trained alike but for where their lesions come from, tested on other patients.

    cohort ──► folds ──► runs = arms x patients x draws x seeds ──► one JSON per run ──► paired statistics

`python -m benchmarks.downstream smoke|simulated|pilot|mslesseg|open_ms` runs what is missing; `python -m
benchmarks.downstream.report FOLDER` compares what is there.
"""
