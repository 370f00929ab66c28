"""Distances know what real patients differ by."""

import numpy as np
import pytest

from lesionaug.report.compare import MEASURES, compare, kolmogorov_smirnov, total_variation
from lesionaug.report.samples import Sample

VOLUME, COUNT, LOAD, REGION = MEASURES[:4]


def scans(seed: int, number: int, shift: float = 0.0, regions=("deep_white_matter", "juxtacortical")) -> list[Sample]:
    """Patients that differ: each has a mean size of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for name in range(number):
        volume = np.exp(rng.normal(rng.normal(3 + shift, 0.3), 1, rng.integers(10, 60)))
        where = rng.choice(regions, len(volume))
        found.append(Sample(f"{seed}-{name}", tuple(volume), float(volume.sum()) / 1000, tuple(where)))
    return found


def test_samples_of_one_distribution_are_within_the_floor():
    for measure in (VOLUME, COUNT, LOAD, REGION):
        found = compare(measure, scans(1, 30), scans(2, 20))
        assert found.verdict == "like", measure.name
        assert 0 < found.floor.median <= found.floor.high


@pytest.mark.parametrize("number", [1, 2, 30])
@pytest.mark.parametrize("patients", [1, 2, 3, 4, 5])
def test_what_has_nothing_in_common_is_never_like_another_patient(number, patients):
    """With two scans on a side even real ones are 1.00 apart: a floor that nothing can exceed is none."""
    far = [Sample(f"far{n}", (9e4,) * 200, 900.0 + n, ("infratentorial",) * 200) for n in range(number)]
    for measure in (VOLUME, COUNT, LOAD, REGION):
        found = compare(measure, far, scans(2, patients))
        assert found.synthetic == pytest.approx(1)
        assert found.verdict != "like", measure.name
        assert "like another real patient" not in found.reading


@pytest.mark.parametrize("shift", [-1.5, 1.5])
def test_other_sizes_are_beyond_it(shift):
    assert compare(VOLUME, scans(1, 30, shift), scans(2, 20)).verdict == "farther"
    assert compare(LOAD, scans(1, 30, shift), scans(2, 20)).verdict == "farther"


def test_other_places_are_beyond_it():
    assert compare(REGION, scans(1, 30, regions=("infratentorial",)), scans(2, 20)).verdict == "farther"


def test_few_patients_have_no_floor_and_unknown_measures_no_distance():
    for real in (scans(2, 3), [s for s in scans(2, 3) for _ in range(9)]):
        found = compare(VOLUME, scans(1, 30), real)
        assert (found.floor, found.verdict) == (None, "unknown")
        assert "too few real patients for a floor: 3, 4 are needed" in found.reading
    assert compare(MEASURES[4], scans(1, 30), scans(2, 20)) is None


def test_time_points_of_a_patient_are_never_on_both_sides():
    """Or a patient would be compared with himself and the floor be too low."""
    real = scans(2, 8)
    twins = [sample for sample in real for _ in range(2)]
    assert compare(VOLUME, scans(1, 30), twins).floor.median == pytest.approx(
        compare(VOLUME, scans(1, 30), real).floor.median, abs=0.06
    )


def test_distances_are_distances():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=50), rng.normal(size=70)
    assert kolmogorov_smirnov(one, one) == 0
    assert kolmogorov_smirnov(one, other) == pytest.approx(kolmogorov_smirnov(other, one))
    assert kolmogorov_smirnov(one, other + 100) == 1
    assert total_variation(["a", "b"], ["b", "a"]) == 0
    assert total_variation(["a"], ["b"]) == 1
