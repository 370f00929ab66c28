"""Laws of where lesions lie and what shape they have: measures of shapes with known answers, a judge of made brains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the judge of tissues needs scikit-learn")

from scans import small_scan
from scipy import ndimage

from benchmarks import placement
from benchmarks.places import (
    CORTEX_MM,
    FLUID,
    GREY,
    UNSEEN,
    WANDER_MM,
    WHITE,
    Maps,
    Place,
    cortex_of,
    own_ventricles,
    patient,
    registered,
    seen_in,
    without_bias,
)
from benchmarks.realism.hosts import HostScan
from lesionaug.errors import LesionAugError
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer
from lesionaug.synthesis import LesionSynthesizer

SHAPE = (60, 40, 40)
GRID = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
WALL, PIAL = 10, 50  # ventricle below the first, cortex from the second, along the first axis


def made_place() -> Place:
    """Ventricle, white matter, cortex, one behind the other."""
    layer = np.select([GRID[..., 0] < WALL, GRID[..., 0] < PIAL], [FLUID, WHITE], GREY)
    return Place(small_scan(), layer, layer, layer == FLUID, layer == GREY)


def box(start: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    return np.argwhere(np.ones(size, bool)) + start


def rod(direction: tuple[float, float, float], start: tuple[float, float, float] = (13, 20, 20)) -> np.ndarray:
    """Voxels within 2 mm of a line of 16 mm."""
    along = np.array(direction) / np.linalg.norm(direction)
    offsets = GRID - np.array(start)
    at = np.clip(offsets @ along, 0, 16)
    return np.argwhere(np.linalg.norm(offsets - at[..., None] * along, axis=-1) <= 2)


@pytest.mark.parametrize("size", [(12, 6, 3), (3, 12, 6), (5, 5, 5)])
def test_a_box_is_as_long_as_its_sides_say(size):
    long, middle, _ = sorted(size, reverse=True)
    assert placement.elongation(box((9, 9, 9), size)) == pytest.approx(long / middle)


def test_a_box_has_one_face_in_one_plane_and_a_ball_hardly_any():
    assert placement.flat_face(np.ones((4, 4, 4), bool)) == pytest.approx(1 / 6)
    assert placement.flat_face(np.ones((8, 8, 2), bool)) == pytest.approx(64 / 192)
    ball = np.linalg.norm(GRID - 20, axis=-1) <= 8
    cut = ball & (GRID[..., 0] <= 20)
    assert placement.flat_face(ball) < 0.08 < 0.2 < placement.flat_face(cut)


def test_a_ball_is_round_and_as_deep_as_its_radius_and_a_sheet_is_neither():
    ball = placement.shape_of(np.argwhere(np.linalg.norm(GRID - 20, axis=-1) <= 6))
    sheet = placement.shape_of(box((9, 9, 9), (16, 16, 2)))
    for name, at_least in (("sphericity", 0.95), ("depth over ball's radius", 0.9)):
        assert at_least < ball[name]
        assert sheet[name] < 0.7 * ball[name]


@pytest.mark.parametrize(("size", "name"), [((2, 2, 3), "10-30 mm3"), ((5, 6, 10), "300-1500 mm3")])
def test_a_lesion_counts_in_its_size_class_alone(size, name):
    row = placement.shape_of(box((9, 9, 9), size))
    found = {key for key, value in row.items() if key.startswith("sphericity, ") and not np.isnan(value)}
    assert found == {f"sphericity, {name}"}


@pytest.mark.parametrize(("direction", "degrees"), [((1, 0, 0), 90), ((0, 1, 0), 0), ((0, 1, 1), 0), ((1, 1, 0), 45)])
def test_the_long_axis_stands_on_the_wall_as_the_lesion_does(direction, degrees):
    place = made_place()
    assert placement.angle_to_wall(rod(direction), place.to_ventricles_mm) == pytest.approx(degrees, abs=3)


def test_only_long_lesions_at_the_wall_have_an_angle():
    place, name = made_place(), "angle to wall, degrees"
    assert placement.whereabouts(rod((1, 0, 0), (13, 20, 20)), place)[name] > 85
    assert np.isnan(placement.whereabouts(rod((1, 0, 0), (25, 20, 20)), place)[name])
    assert np.isnan(placement.whereabouts(box((11, 20, 20), (5, 5, 5)), place)[name])


def test_distances_and_tissues_of_a_box_are_those_of_its_place():
    row = placement.whereabouts(box((46, 20, 20), (8, 4, 4)), made_place())
    assert [row["in white matter"], row["in grey matter"], row["in fluid"]] == [0.5, 0.5, 0]
    assert row["nearest to ventricles, mm"] == 46 - (WALL - 1)
    assert row["mean to ventricles, mm"] == 49.5 - (WALL - 1)
    assert row["within 3 mm of ventricles"] == 0
    assert [row["touches cortex"], row["touches ventricles"]] == [1, 0]


def test_shares_within_a_distance_grow_voxel_by_voxel():
    row = placement.whereabouts(box((WALL, 20, 20), (8, 4, 4)), made_place())
    shares = [row[f"within {mm:g} mm of ventricles"] for mm in placement.PROFILE_MM]
    assert shares == [1 / 8, 3 / 8, 6 / 8, 1, 1]


def test_what_a_lesion_covers_is_no_nearer_than_what_goes_on_beside_it():
    place, voxels = made_place(), box((46, 20, 20), (8, 4, 4))
    away = placement.beyond(voxels, place.cortex, place.to_cortex_mm)
    inside = voxels[:, 0] >= PIAL
    assert place.to_cortex_mm[tuple(voxels[inside].T)].max() == 0
    assert away.min() == 1
    assert away[inside].max() == 2  # to the cortex beside the lesion
    outside = box((30, 20, 20), (4, 4, 4))
    assert (placement.beyond(outside, place.cortex, place.to_cortex_mm) == PIAL - outside[:, 0]).all()


def test_tissue_around_a_lesion_leaves_out_the_lesion_its_partial_volume_and_what_is_not_seen():
    voxels = box((20, 18, 18), (3, 3, 3))
    seen = np.full(SHAPE, WHITE)
    inside = np.zeros(SHAPE, bool)
    inside[tuple(voxels.T)] = True
    seen[ndimage.distance_transform_edt(~inside) <= 1] = FLUID
    assert (placement.seen_around(voxels, seen) == WHITE).all()
    seen[:20] = UNSEEN
    assert placement.shares_of(placement.seen_around(voxels, seen)).tolist() == [1, 0, 0]
    assert np.isnan(placement.shares_of(np.array([UNSEEN]))).all()


def test_shares_are_of_all_volume_and_percentiles_of_what_can_be_one_lesion():
    rows = [{"volume_mm3": v, "in fluid": s} for v, s in ((100, 0.0), (300, 1.0), (placement.MOST_MM3 + 5400, 1.0))]
    found = placement.summary(rows)
    assert [found["lesions"], found["larger"]] == [2, 1]
    assert found["volume_mm3"] == [110, 150, 200, 250, 290]
    assert found["in fluid, of volume"] == pytest.approx(0.99)
    rows.append({"volume_mm3": 1e9, "in fluid": np.nan})
    assert placement.summary(rows)["in fluid, of volume"] == pytest.approx(0.99)
    assert placement.summary([]) == {"lesions": 0, "larger": 0}


def test_as_many_as_lie_between_the_real_percentiles_and_nothing_of_few():
    real = [{"volume_mm3": 100.0, "flat face": float(n)} for n in range(101)]
    new = [{"volume_mm3": 100.0, "flat face": value} for value in (4.0, 5.0, 50.0, 95.0, 96.0)]
    assert placement.in_range(real, new)["flat face"] == 0.6
    assert placement.in_range(real[: placement.FEW - 1], new) == {}


def test_lesions_of_a_plan_are_measured_one_by_one():
    renderer = DiffusionRenderer(EllipsoidMasks(), ConstantContrast())
    place = Place(small_scan(), *(np.zeros(small_scan().shape, int),) * 2, *(np.ones(small_scan().shape, bool),) * 2)
    found = list(placement.synthetic(LesionSynthesizer(LesionPrior.load(), renderer), place, seeds=(0, 1)))
    assert 2 < len(found) <= 2 * placement.LESIONS_A_PLAN
    for voxels in found:
        assert len(np.unique(voxels, axis=0)) == len(voxels) > 0
        assert place.scan.brain[0].numpy()[tuple(voxels.T)].all()
    mask = np.zeros(SHAPE, bool)
    mask[5:8, 5:8, 5:8] = mask[20:26, 5:8, 5:8] = True
    one, other = placement.pieces(mask)
    assert np.array_equal(one, box((5, 5, 5), (3, 3, 3)))
    assert np.array_equal(other, box((20, 5, 5), (6, 3, 3)))


def test_a_table_has_a_line_a_quantity_and_a_dash_for_what_is_not_known():
    rows = placement.measured([rod((1, 0, 0))], made_place())
    shape = placement.measured([rod((1, 0, 0))])
    table = {"made": placement.beside(rows, rows), "masks": placement.beside(shape, [])}
    lines = {line[:38].strip(): line[38:].split() for line in placement.as_text(table).splitlines()}
    assert lines["in white matter, of volume"] == ["1.00", "|", "1.00", "-"]
    assert lines["touches ventricles"][-1] == "-"
    assert lines["lesions"] == ["1", "|", "1", "1", "|", "0"]
    assert lines["angle to wall, degrees"][:5] == ["90", "90", "90", "|", "90"]


def made_brain(scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Tissue of a ball: fluid, cortex, white matter with deep grey matter, and a ventricle off the middle."""
    offset = (np.stack(np.meshgrid(*(np.arange(80),) * 3, indexing="ij"), axis=-1) - 40 - shift) / scale
    radius = np.linalg.norm(offset, axis=-1)
    ventricle = np.linalg.norm(offset / (6, 12, 6), axis=-1) < 1
    deep = np.linalg.norm(offset - (0, 0, 13), axis=-1) < 4
    return np.select(
        [radius > 32, radius > 30, radius > 26, ventricle, deep], [UNSEEN, FLUID, GREY, FLUID, GREY], WHITE
    )


def made_t1w(tissue: np.ndarray) -> np.ndarray:
    levels = np.select([tissue == WHITE, tissue == GREY, tissue == FLUID], [100.0, 70.0, 25.0], 0)
    noise = np.random.default_rng(0).normal(0, 4, tissue.shape)
    return np.where(tissue == UNSEEN, 0, np.clip(levels + noise, 1, None)).astype(np.float32)


def test_tissue_is_seen_in_t1w_but_not_in_lesions_and_bias_does_not_mislead():
    tissue = made_brain()
    lesions = np.zeros(tissue.shape, bool)
    lesions[40:46, 40:46, 24:30] = True
    t1w = made_t1w(np.where(lesions, FLUID, tissue))
    biased = t1w * np.linspace(0.75, 1.25, 80, dtype=np.float32)[:, None, None]
    for image, least in ((t1w, 0.97), (without_bias(biased, tissue != UNSEEN), 0.9)):
        seen, level = seen_in(image, tissue != UNSEEN, lesions)
        assert (seen[lesions | (tissue == UNSEEN)] == UNSEEN).all()
        known = seen != UNSEEN
        assert (seen[known] == tissue[known]).mean() > least
        assert level == pytest.approx(np.median(image[tissue == WHITE]), rel=0.05)


def test_cortex_is_grey_matter_at_the_surface():
    tissue = made_brain()
    radius = np.linalg.norm(np.stack(np.meshgrid(*(np.arange(80),) * 3, indexing="ij"), axis=-1) - 40, axis=-1)
    cortex = cortex_of(tissue, (tissue == FLUID) & (radius < 20))
    assert (cortex == ((tissue == GREY) & (radius > 26))).all()
    assert CORTEX_MM > 4


def test_own_ventricles_are_fluid_in_one_piece_near_the_templates():
    fluid = np.zeros((40, 40, 40), bool)
    fluid[5:35, 18:22, 18:22] = True
    fluid[18:22, 26, 18:22] = True  # a piece of its own
    template = np.zeros_like(fluid)
    template[15:19, 19:21, 19:21] = True
    found = own_ventricles(fluid, template)
    places = np.argwhere(found)
    assert 15 - WANDER_MM <= places[:, 0].min() < 15
    assert 18 < places[:, 0].max() <= 18 + WANDER_MM
    assert not found[:, 26].any()
    assert (fluid | ~found).all()


def test_maps_follow_a_brain_of_another_size_and_place():
    own, other = made_brain(), made_brain(scale=0.85, shift=3.0)
    maps = Maps(made_t1w(own), (own == WHITE).astype(float), (own == GREY).astype(float), np.eye(4))
    object.__setattr__(maps, "ventricles", (own == FLUID) & ndimage.binary_erosion(own != UNSEEN, iterations=6))
    white, grey, ventricles = registered(maps, made_t1w(other))
    inside = (other == FLUID) & ndimage.binary_erosion(other != UNSEEN, iterations=6)
    for found, true in ((white, other == WHITE), (grey, other == GREY), (ventricles, inside)):
        assert 2 * ((found > 0.5) & true).sum() / ((found > 0.5).sum() + true.sum()) > 0.8
    before = 2 * ((own == GREY) & (other == GREY)).sum() / ((own == GREY).sum() + (other == GREY).sum())
    assert before < 0.5


@pytest.mark.parametrize(("spacing", "channel"), [((1, 1, 7), "t1w"), ((1, 1, 1), "flair")])
def test_thick_slices_and_scans_without_t1w_are_refused(spacing, channel):
    image = torch.rand(20, 20, 20).numpy()
    host = HostScan("thick", {channel: image}, image > 0, image > 2, np.diag((*spacing, 1.0)))
    with pytest.raises(LesionAugError, match=r"Expected T1w with voxels of 1 mm, got .* of thick; leave it out"):
        patient(host)
