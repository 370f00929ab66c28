"""The benchmark of filling knows what is the same and what is not."""

import pytest
from phantoms import brain_phantom

from benchmarks.bench_filling import FILLS, BenchFilling, error, features, judged
from benchmarks.realism.hosts import HostScan
from lesionaug.synthesis import load_synthesizer


@pytest.mark.slow
def test_true_tissue_cannot_be_told_and_flat_tissue_can():
    pytest.importorskip("sklearn")
    phantom, synthesizer = (
        brain_phantom((80, 96, 80), (1.8, 1.8, 1.8), channels=("flair",)),
        load_synthesizer("parametric"),
    )
    images = {"flair": phantom.images["flair"].numpy()}
    host = HostScan("phantom", images, phantom.labels > 0, phantom.lesion_mask[0].numpy(), phantom.affine)
    cut = BenchFilling(lesions=24)._cut(synthesizer, host)
    was = cut.scan.image[0].numpy()
    true = {"phantom": features(cut, was)}
    same = judged({"phantom": cut}, true, {"phantom": was})
    assert error(cut, was) == 0
    assert same["sd_ratio"] == 1
    assert same["forest"] < 0.6
    flat = judged({"phantom": cut}, true, {"phantom": FILLS["level"](synthesizer, cut)})
    assert flat["forest"] > 0.75
    assert error(cut, FILLS["fill"](synthesizer, cut)) > 0
    assert error(cut, FILLS["lefusion"](synthesizer, cut)) == 0  # without a network, no contrast changes nothing
