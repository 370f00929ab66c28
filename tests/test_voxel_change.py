"""What rendering changes in a scan, as bytes."""

import numpy as np
import pytest

from lesionaug.variants import VoxelChange


@pytest.mark.parametrize("kind", ["<f4", "<f8", "<i2", "|u1", "<f2"])
@pytest.mark.parametrize("indices", [[], [0], [3, 4, 5, 900, 70_000], [2**31 + 5]])
def test_changes_survive_the_trip_through_bytes(kind, indices):
    values = {name: (np.arange(len(indices)) * 1.5 + n).astype(kind) for n, name in enumerate(("flair", "t1w"))}
    labelled = np.arange(len(indices)) % 3 > 0
    change = VoxelChange(np.array(indices, np.int64), values, labelled)
    again = VoxelChange.from_bytes(change.to_bytes())
    assert again.indices.dtype == np.int64
    assert again.indices.tolist() == indices
    assert again.labelled.tolist() == labelled.tolist()
    for name, expected in values.items():
        assert again.values[name].dtype == expected.dtype
        assert np.array_equal(again.values[name], expected)
        assert again.values[name].flags.writeable
