"""Laws of the pages that people look at: sizes match, sides are what they say, no outline covers a plain image."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("sklearn", reason="the realism benchmark needs scikit-learn")

from scans import small_scan

from benchmarks.gallery import __main__ as program
from benchmarks.gallery.lesions import ALIKE, found, paired, plan_of_sizes, real_lesions
from benchmarks.gallery.tiles import NEW, REAL, TILE, cuts, tiles_of, turned_voxel
from benchmarks.realism.hosts import HostResult, HostScan, steps_within
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.plan_options import PlanOptions
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer
from lesionaug.synthesis import LesionSynthesizer
from lesionaug.views import AXIAL, turned

RADII_MM = (2.0, 3.0, 4.0, 5.0)


def made_result(spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> HostResult:
    """Four real lesions of different sizes in one half of a brain, the same ones as new in the other."""
    shape = tuple(round(96 / side) for side in spacing_mm)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * spacing_mm
    brain = np.linalg.norm(grid - 48, axis=-1) < 46
    places = {radius: np.array([30, 22 + 17 * n, 48]) for n, radius in enumerate(RADII_MM)}
    real, new = (
        np.logical_or.reduce([np.linalg.norm(grid - place - shift, axis=-1) < r for r, place in places.items()])
        for shift in ((0, 0, 0), (36, 0, 0))
    )
    tissue = np.where(brain, 100 + np.random.default_rng(0).normal(0, 5, shape), 0).astype(np.float32)
    affine = np.diag((-spacing_mm[0], spacing_mm[1], spacing_mm[2], 1.0))
    host = HostScan("made", {"flair": tissue + 60 * real, "t1w": tissue}, brain, real, affine)
    return HostResult(host, {"flair": host.images["flair"] + 60 * new, "t1w": tissue}, new)


def sides_of(result: HostResult) -> dict:
    return {kind: program.volumes_of(result, real=kind, told=True) for kind in (True, False)}


def test_pairs_are_alike_in_volume_and_nobody_is_shown_twice():
    result = made_result()
    real = real_lesions(result.host, (3.0, 20.0), None)
    synthetic = found(result.new_lesions, result.host.spacing_mm, real=False)
    assert [len(real), len(synthetic)] == [4, 4]
    assert all(
        a and b and max(a.volume_mm3, b.volume_mm3) <= ALIKE * min(a.volume_mm3, b.volume_mm3)
        for a, b in paired(real, synthetic)
    )
    assert paired(real[:1], synthetic[-1:]) == [(real[0], None), (None, synthetic[-1])]
    few = real_lesions(result.host, (3.0, 20.0), 2)
    assert few == [real[0], real[-1]]
    assert len(real_lesions(result.host, (7.0, 20.0), None)) == 2


def test_as_many_lesions_of_every_size_are_planned_apart_from_each_other():
    volumes = [math.pi / 6 * d**3 for d in (4, 4.2, 6, 9)]
    synthesizer = LesionSynthesizer(LesionPrior.load(), DiffusionRenderer(EllipsoidMasks(), ConstantContrast()))
    scan = small_scan()
    plan = plan_of_sizes(synthesizer, scan, volumes, PlanOptions(gate=False), torch.Generator().manual_seed(0))
    diameters = sorted(spec.diameter_mm for spec in plan)
    assert diameters == pytest.approx([4, 4.2, 6, 9], rel=0.1)
    centers = [np.array(spec.center) * scan.spacing_mm for spec in plan]
    for one in range(len(plan)):
        for other in range(one):
            touching = (plan.lesions[one].diameter_mm + plan.lesions[other].diameter_mm) / 2
            assert np.linalg.norm(centers[one] - centers[other]) > touching


def test_the_middle_of_a_tile_is_the_lesion_whatever_the_orientation_of_the_file():
    result = made_result()
    for lesion in real_lesions(result.host, (3.0, 20.0), None):
        moved = turned_voxel(lesion.center, result.host.lesions.shape, result.host.affine)
        assert turned(result.host.lesions, result.host.affine)[moved]
        for tile in tiles_of(sides_of(result)[True], moved, field_mm=20)[:3]:
            assert tile[TILE // 2, TILE // 2, 0] > tile[4, TILE // 2, 0]


def test_only_tiles_that_say_so_have_outlines_and_they_lie_around_the_lesion():
    result = made_result()
    lesion = real_lesions(result.host, (3.0, 20.0), None)[0]
    tiles = tiles_of(sides_of(result)[True], turned_voxel(lesion.center, result.host.lesions.shape, result.host.affine))
    assert len(tiles) == 9
    for plain in tiles[:6]:
        assert (plain[..., 0] == plain[..., 2]).all()
    for plain, outlined in zip(tiles[:3], tiles[6:], strict=True):
        drawn = (outlined != plain).any(axis=-1)
        assert {tuple(color) for color in outlined[drawn]} == {REAL}
        assert not drawn[TILE // 2, TILE // 2]


def test_thick_slices_are_shown_as_they_were_scanned():
    result = made_result((0.9, 0.9, 7.0))
    volumes = sides_of(result)[False]
    assert cuts(volumes, (40, 40, 0)) == [(AXIAL, 0), (AXIAL, 0), (AXIAL, 1)]
    neighbours = steps_within((0.9, 0.9, 7.0))
    assert neighbours.sum() == 5
    assert not neighbours[:, :, [0, 2]].any()
    assert steps_within((1.0, 1.0, 1.0)).sum() == 7


def test_a_shuffled_page_tells_nothing_and_its_key_everything(tmp_path, monkeypatch):
    result = made_result()
    monkeypatch.setattr(program, "load_host", lambda name: result.host)
    monkeypatch.setattr(program, "load_synthesizer", lambda **_: None)
    monkeypatch.setattr(program, "populate", lambda *_: result)
    for seed in (0, 1):
        program.Gallery(hosts=("made",), output=tmp_path / str(seed), shuffled=True, seed=seed).run()
    keys = [json.loads((tmp_path / str(seed) / "made.key.json").read_text())["lesions"] for seed in (0, 1)]
    assert sorted(entry["real"] for entry in keys[0]) == [False] * 4 + [True] * 4
    assert [entry["number"] for entry in keys[0]] == list(range(1, 9))
    assert [entry["center"] for entry in keys[0]] != [entry["center"] for entry in keys[1]]
    colors = np.asarray(Image.open(tmp_path / "0" / "made.png")).reshape(-1, 3)
    assert (colors == NEW).all(axis=1).any()
    assert not (colors == REAL).all(axis=1).any()
    assert not (tmp_path / "0" / "made-slices.png").exists()
