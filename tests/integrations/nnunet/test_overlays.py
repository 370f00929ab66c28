"""A prepared variant is laid over a case as it is loaded: lazily, only in training, and only if it fits."""

import json
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from lesionaug.integrations.nnunet.overlays import extended, with_overlays
from lesionaug.integrations.nnunet.sparse import PastedArray
from nnunet_dataset import CONFIGURATION, PATCH, record_of
from nnunet_variants import Workplace, always, rewritten, whole

from lesionaug.errors import LesionAugError

SHAPE = (2, 12, 15, 9)


@pytest.fixture(scope="module")
def prepared(datasets, tmp_path_factory):
    """Prepared once; tests that damage it take a copy."""
    return made(datasets, "plain", tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def workplace(prepared, monkeypatch):
    prepared.use(monkeypatch)
    return prepared


@pytest.fixture
def damaged(prepared, tmp_path, monkeypatch):
    """A copy to damage."""
    found = Workplace.copy_of(prepared.cases.parents[2], ".", tmp_path)
    found.use(monkeypatch)
    return found


def made(datasets: Path, name: str, root: Path, **given) -> Workplace:
    from lesionaug.cli import main

    found = Workplace.copy_of(datasets, name, root)
    with pytest.MonkeyPatch.context() as patch:
        found.use(patch, **given)
        assert main(["nnunet", "prepare", "501", "--configuration", CONFIGURATION]) == 0
    return found


def pasted(base) -> tuple[PastedArray, np.ndarray]:
    """Values in both channels, and what they should amount to."""
    rng = np.random.default_rng(1)
    voxels = np.stack(np.unravel_index(rng.choice(np.prod(SHAPE[1:]), 40, replace=False), SHAPE[1:]), axis=1)
    values = {0: rng.normal(size=40).astype(np.float32), 1: rng.normal(size=40).astype(np.float32)}
    expected = np.array(base[:])
    for channel, there in values.items():
        expected[(channel, *voxels.T)] = there
    return PastedArray(base, voxels, values), expected


def base_array() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def blosc_file(path: Path):
    import blosc2

    blosc2.asarray(base_array(), urlpath=str(path / "a.b2nd"), chunks=(1, 6, 5, 9), blocks=(1, 3, 5, 9))
    return blosc2.open(str(path / "a.b2nd"), mode="r", mmap_mode="r")


def memory_map(path: Path):
    np.save(path / "a.npy", base_array())
    return np.load(path / "a.npy", mmap_mode="r")


@pytest.mark.parametrize("make", [blosc_file, memory_map, lambda _: base_array()])
@pytest.mark.parametrize(
    "item",
    [
        np.s_[:],
        np.s_[...],
        np.s_[0],
        np.s_[1:, 3:8, :, 4],
        np.s_[:, 2:-3, 14:2, ::2],
        np.s_[..., -1],
        np.s_[:, np.array([1, 3])],
    ],
)
def test_a_pasted_array_reads_like_the_array_with_the_values_in_it(tmp_path, make, item):
    array, expected = pasted(make(tmp_path))
    assert np.array_equal(array[item], expected[item])
    assert np.array_equal(np.asarray(array), expected)
    assert (array.shape, array.ndim, array.dtype, len(array)) == (SHAPE, 4, np.float32, 2)
    assert np.array_equal(array.base[:], base_array()), "what lies beneath was written to"


@pytest.mark.parametrize("seed", range(5))
def test_crops_of_nnunet_are_those_of_the_array_in_memory(tmp_path, seed):
    array, expected = pasted(blosc_file(tmp_path))
    rng = np.random.default_rng(seed)
    box = [[low, low + int(rng.integers(7, 16))] for low in map(int, rng.integers(-6, 8, 3))]
    for more in ({}, {"cast_cropped_to": np.int16}):
        assert np.array_equal(crop_and_pad_nd(array, box, -1, **more), crop_and_pad_nd(expected, box, -1, **more))


def test_only_what_is_asked_for_is_read():
    class Watched:
        shape, dtype = SHAPE, np.dtype(np.float32)

        def __init__(self):
            self.asked = []

        def __getitem__(self, item):
            self.asked.append(item)
            return base_array()[item]

    watched = Watched()
    array, _ = pasted(base_array())
    PastedArray(watched, array.voxels, array.values)[:, 2:5, 1:3]
    assert watched.asked == [np.s_[0:2, 2:5, 1:3, 0:9]]


def test_new_lesions_are_found_where_nnunet_looks_for_their_class():
    old = np.array([[0, 1, 1, 1]])
    locations = {1: old, 2: [], (1, 2): old, (2,): [], (1,): old, (-1, 0, 1, 2): old}
    voxels = np.array([[4, 5, 6], [7, 8, 9]])
    found = extended(locations, voxels, lesion=2)
    new = [[0, 4, 5, 6], [0, 7, 8, 9]]
    assert found[2].tolist() == found[(2,)].tolist() == new
    assert found[(1, 2)].tolist() == [[0, 1, 1, 1], *new]
    assert all(found[key] is old for key in (1, (1,), (-1, 0, 1, 2)))
    assert locations[2] == []


def test_without_luck_a_case_is_what_nnunet_loads(workplace):
    dataset = with_overlays(workplace.dataset(), workplace.open(), lambda: 0.0)
    for name in workplace.names:
        for ours, theirs in zip(
            whole(dataset.load_case(name)), whole(workplace.dataset().load_case(name)), strict=True
        ):
            assert np.array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
    assert dataset.identifiers == workplace.names
    assert dataset.source_folder == str(workplace.cases)


def test_numpy_decides_which_variant_and_the_share_how_often(workplace):
    noted = []
    dataset = with_overlays(workplace.dataset(), workplace.open(), lambda: 0.5, lambda **facts: noted.append(facts))
    name = workplace.names[0]

    def draw(seed):
        np.random.seed(seed)
        return [whole(dataset[name])[1].tobytes() for _ in range(40)]

    first = draw(1)
    assert first == draw(1) != draw(2)
    assert len(set(first)) == 3, "without, and two variants"
    assert 60 * 0.25 < len(noted) / 2 < 60 * 0.75
    assert {facts["variant"] for facts in noted} == {0, 1}
    assert all(facts == {"lesions": 3, "case": name, "variant": facts["variant"]} for facts in noted)


def test_outside_of_changes_every_bit_stays(workplace):
    overlays = workplace.open()
    for name in workplace.names:
        loaded = workplace.dataset().load_case(name)
        change = overlays.change(name, 0)
        outside = np.ones(loaded[1].shape[1:], bool)
        outside.reshape(-1)[change.indices] = False
        laid = overlays.laid_over(name, 0, loaded)
        for before, after in zip(whole(loaded), whole(laid), strict=True):
            assert before.dtype == after.dtype
            assert np.array_equal(before[:, outside], after[:, outside])
        assert (whole(laid)[1] == 1).sum() == (whole(loaded)[1] == 1).sum() + change.labelled.sum()


def test_what_the_previous_stage_of_a_cascade_said_stays(workplace):
    data, seg, _, properties = workplace.dataset().load_case(workplace.names[0])
    previous = seg[:] * 0 + 7
    assert workplace.open().laid_over(workplace.names[0], 0, (data, seg, previous, properties))[2] is previous


def test_foreground_is_found_in_new_lesions_alone(workplace):
    """A scan without a lesion of its own: whatever nnU-Net centres a crop at was laid over it."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    class Healthy:
        identifiers = workplace.names

        def load_case(self, name):
            data, seg, previous, properties = workplace.dataset().load_case(name)
            return data, np.minimum(seg[:], 0), previous, {**properties, "class_locations": {1: []}}

    dataset = with_overlays(Healthy(), workplace.open(), always)
    labels = LabelManager({"background": 0, "lesion": 1}, None)
    for patch in (PATCH, PATCH[1:]):  # of volumes and of slices
        loader = nnUNetDataLoader(dataset, 4, patch, patch, labels, oversample_foreground_percent=1.0)
        batch = loader.generate_train_batch()
        assert batch["data"].shape[2:] == tuple(patch)
        assert ((batch["target"] == 1).flatten(1).any(dim=1)).all()


def test_validation_cases_are_never_touched(workplace, folders, make_trainer, monkeypatch):
    workplace.use(monkeypatch, probability=1.0)
    trainer = make_trainer()
    loaders = trainer.get_dataloaders()
    training, validation = (loader.data_loader._data for loader in loaders)
    for name in validation.identifiers:
        for ours, theirs in zip(
            whole(validation.load_case(name)), whole(workplace.dataset().load_case(name)), strict=True
        ):
            assert np.array_equal(ours, theirs)
    for name in training.identifiers:
        assert not np.array_equal(whole(training.load_case(name))[1], whole(workplace.dataset().load_case(name))[1]), (
            "or this test shows nothing"
        )


def test_a_training_takes_what_is_prepared_if_nothing_else_is_asked_for(workplace, folders, make_trainer, monkeypatch):
    workplace.use(monkeypatch, mode="auto", probability=1.0)
    trainer = make_trainer()
    trainer.run_training()
    record, lines = record_of(trainer)
    assert record["mode"] == "cached"
    assert record["overlays"]["variants"] == 2
    assert record["counts"]["lesions"] == sum(line["lesions"] for line in lines) == 3 * len(lines)
    assert {line["case"] for line in lines} <= set(workplace.names[1:]), "the first is validated on"


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spawn", "forkserver"))]
)
def test_workers_of_every_kind_load_the_same(workplace, method):
    dataset = with_overlays(workplace.dataset(), workplace.open(), always)
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    worker = context.Process(target=send_seeded, args=(theirs, dataset, workplace.names[0]))
    worker.start()
    assert ours.poll(120)
    image, seg = ours.recv()
    worker.join(60)
    expected = seeded(dataset, workplace.names[0])
    assert np.array_equal(image, expected[0])
    assert np.array_equal(seg, expected[1])


def seeded(dataset, name):
    np.random.seed(5)
    return whole(dataset.load_case(name))


def send_seeded(connection, dataset, name):
    connection.send(seeded(dataset, name))


def test_a_dataset_survives_pickling(workplace):
    dataset = with_overlays(workplace.dataset(), workplace.open(), always)
    again = pickle.loads(pickle.dumps(dataset))
    for one, other in zip(seeded(dataset, workplace.names[1]), seeded(again, workplace.names[1]), strict=True):
        assert np.array_equal(one, other)


def test_training_loads_neither_models_nor_anatomy(workplace):
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "from nnunet_variants import Workplace, always, whole\n"
        "from lesionaug.integrations.nnunet.overlays import with_overlays\n"
        "place = Workplace(Path(sys.argv[1]))\n"
        "dataset = with_overlays(place.dataset(), place.open(), always)\n"
        "assert whole(dataset.load_case(place.names[0]))[1].max() == 1\n"
        "print([name for name in sys.modules if name.startswith('lesionaug.') and 'lefusion' in name])"
    )
    program = [sys.executable, "-c", code, str(workplace.cases)]
    tests = str(Path(__file__).parents[2])
    found = subprocess.run(program, env={**environment(), "PYTHONPATH": tests}, capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_regions_are_written_as_their_first_value(datasets, tmp_path_factory, monkeypatch):
    workplace = made(datasets, "regions", tmp_path_factory.mktemp("regions"), lesion_label="any lesion")
    workplace.use(monkeypatch, lesion_label="any lesion")
    name = workplace.names[0]
    loaded = workplace.dataset().load_case(name)
    laid = workplace.open().laid_over(name, 0, loaded)
    change = workplace.open().change(name, 0)
    assert set(np.unique(whole(laid)[1].reshape(-1)[change.lesions])) == {1}
    before, after = loaded[3]["class_locations"], laid[3]["class_locations"]
    more = {key: len(after[key]) - len(before[key]) for key in before}
    assert more == {(1, 2): change.labelled.sum(), **{key: 0 for key in before if key != (1, 2)}}


def test_cases_in_numpy_files_are_prepared_and_loaded_too(workplace, tmp_path, monkeypatch, capsys):
    """As nnU-Net kept them before 2.6."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy

    other = Workplace.copy_of(workplace.cases.parents[2], ".", tmp_path)
    for name in other.names:
        data, seg, _, properties = workplace.dataset().load_case(name)
        for file in other.cases.glob(f"{name}*"):
            file.unlink()
        nnUNetDatasetNumpy.save_case(data[:], seg[:], properties, str(other.cases / name))
    other.use(monkeypatch)
    assert other.prepare(capsys, "--overwrite").code == 0
    datasets = [with_overlays(place.dataset(), place.open(), always) for place in (workplace, other)]
    for ours, theirs in zip(*(seeded(dataset, workplace.names[2]) for dataset in datasets), strict=True):
        assert np.array_equal(ours, theirs)


def test_what_was_not_prepared_is_told(damaged):
    (damaged.overlays / "prepared.json").unlink()
    with pytest.raises(LesionAugError, match=r"Expected prepared variants, got no prepared\.json"):
        damaged.open()


def test_other_settings_are_told(workplace, monkeypatch):
    workplace.use(monkeypatch, contrast=1.5, seed=2, probability=0.1, variants=9)
    with pytest.raises(LesionAugError, match=r"contrast: 1.0 then, 1.5 now; seed: 0 then, 2 now\); use those"):
        workplace.open()


def test_another_preprocessing_is_told(damaged):
    changed = damaged.cases / f"{damaged.names[1]}.b2nd"
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    with pytest.raises(LesionAugError, match=f"got {damaged.names[1]} preprocessed again since"):
        damaged.open()
    damaged.open(damaged.names[0])


def test_cases_without_all_variants_are_told(damaged):
    rewritten(damaged.overlays / "prepared.json", lambda content: {**content, "variants": 3})
    with pytest.raises(LesionAugError, match="too few of phantom_000, phantom_001"):
        damaged.open()
    with pytest.raises(LesionAugError, match="too few of newcomer"):
        damaged.open("newcomer")


def test_a_damaged_variant_stops_the_training(damaged):
    overlays = damaged.open()
    for entry in (damaged.overlays / "changes").rglob("*.lesions"):
        entry.write_bytes(entry.read_bytes()[:-3])
    dataset = with_overlays(damaged.dataset(), overlays, always)
    with pytest.raises(LesionAugError, match="got none or a damaged one; run lesionaug nnunet prepare again"):
        dataset.load_case(damaged.names[0])


def test_what_is_left_alone_is_left_alone(damaged):
    rewritten(
        damaged.overlays / "prepared.json",
        lambda content: {**content, "untouched": [damaged.names[0]], "lesions": {damaged.names[1]: [3, 3]}},
    )
    dataset = with_overlays(damaged.dataset(), damaged.open(*damaged.names[:2]), always)
    untouched, touched = (whole(dataset.load_case(name))[1] for name in damaged.names[:2])
    assert np.array_equal(untouched, whole(damaged.dataset().load_case(damaged.names[0]))[1])
    assert not np.array_equal(touched, whole(damaged.dataset().load_case(damaged.names[1]))[1])


def test_what_is_known_of_the_variants_is_plain_data(workplace):
    about = workplace.open().about()
    assert json.loads(json.dumps(about)) == about
    assert (about["cases"], about["variants"], about["lesions"], about["settings"]["seed"]) == (5, 2, 30, 0)
