"""Whatever is handed in works in every host, or is refused with what was wanted; one bad scan ends no training."""

import warnings

import numpy as np
import pytest
import torch
import torchio as tio
from lesionaug.integrations.monai import AddAnatomyd, RandSyntheticMSLesiond, RenderMSLesionsd
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import RandSpatialCropd
from phantom_subjects import PARAMETRIC, SHAPE, assert_same, seeded, small_phantom, subject_of
from scan_files import arguments, call, write_nifti, write_phantom
from scan_files import phantom as file_phantom

from lesionaug import AddAnatomy, ScanParts, SyntheticMSLesion, lesion_augmenter
from lesionaug.anatomy import Anatomy, carried, uncarried
from lesionaug.assemble import assemble_scan
from lesionaug.errors import BadScanError, LesionAugError, LesionAugWarning
from lesionaug.plan_options import PlanOptions


@pytest.fixture(scope="module")
def phantom():
    return small_phantom()


@pytest.fixture
def subject(phantom):
    return subject_of(phantom)


def images_of(phantom):
    return {channel: image[None] for channel, image in phantom.images.items()}


def brain_of(phantom):
    return torch.from_numpy((phantom.labels > 0) & (phantom.labels < 500))[None].to(torch.uint8)


def item_of(phantom, **more):
    entries = {"flair": phantom.images["flair"][None], "t1": phantom.images["t1w"][None]}
    entries |= {"label": phantom.lesion_mask.to(torch.uint8), **more}
    return {key: MetaTensor(volume, affine=torch.from_numpy(phantom.affine)) for key, volume in entries.items()}


# What `assemble_scan` takes.


def test_a_scan_needs_no_mask_and_takes_one_of_any_type(phantom):
    images = images_of(phantom)
    assert not assemble_scan(images, phantom.affine).lesion_mask.any()
    plain = assemble_scan(images, phantom.affine, phantom.lesion_mask)
    other = assemble_scan(images, torch.from_numpy(phantom.affine), phantom.lesion_mask.float() * 255)
    assert torch.equal(plain.lesion_mask, other.lesion_mask)
    assert torch.equal(plain.eligible, other.eligible)


WRONG = {
    "soft mask": (lambda p: {"lesion_mask": torch.rand(1, *SHAPE)}, "Expected a binary label"),
    "mask of other shape": (lambda p: {"lesion_mask": p.lesion_mask[:, 1:]}, "got .*49, 60, 50.* in lesion_mask"),
    "mask that is no tensor": (lambda p: {"lesion_mask": p.lesion_mask.numpy()}, "got ndarray in lesion_mask"),
    "affine of 3 x 3": (lambda p: {"affine": p.affine[:3, :3]}, "Expected an affine of 4 x 4"),
    "image without channel": (lambda p: {"images": p.images}, "adds the axis"),
    "no image": (lambda p: {"images": {}}, "Expected at least one image"),
    "brain of other shape": (lambda p: {"brain_mask": brain_of(p)[:, 1:]}, "in brain_mask"),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG)
def test_a_scan_says_what_it_wants(phantom, change, says):
    arguments = {"images": images_of(phantom), "affine": phantom.affine} | change(phantom)
    with pytest.raises(LesionAugError, match=says):
        assemble_scan(**arguments)


# Names.


def test_one_region_needs_no_list(phantom):
    assert PlanOptions(regions="periventricular") == PlanOptions(regions=("periventricular",))
    assert lesion_augmenter(regions="infratentorial").options.regions == ("infratentorial",)
    with pytest.raises(LesionAugError, match=r"Expected regions among .*, got pons"):
        lesion_augmenter(regions="pons")


def test_images_whose_names_tell_need_no_channels(subject):
    listed = seeded(SyntheticMSLesion(images=["flair", "t1"], **PARAMETRIC), subject)
    assert_same(listed, seeded(SyntheticMSLesion(**PARAMETRIC), subject))
    assert SyntheticMSLesion(images="flair").keys.images == {"flair": "flair"}
    with pytest.raises(LesionAugError, match="say which is which"):
        SyntheticMSLesion(images=["scan"])
    with pytest.raises(LesionAugError, match="each once"):
        SyntheticMSLesion(images=["t1", "T1w"])


# Brain masks.


def test_every_host_takes_a_brain_mask(phantom, subject):
    brain = brain_of(phantom)
    brain[:, : SHAPE[0] // 2] = 0
    brain = brain_of(phantom) & ~torch.from_numpy(np.isin(phantom.labels, (46, 47, 7, 8, 16)))[None].byte()
    parts = ScanParts(images_of(phantom), phantom.affine, phantom.lesion_mask.byte(), brain_mask=brain)
    assert torch.equal(parts.scan.brain, brain > 0)
    subject.add_image(tio.LabelMap(tensor=brain, affine=phantom.affine), "brain")
    transform = SyntheticMSLesion(brain_mask="brain", **PARAMETRIC)
    assert torch.equal(transform._parts(subject).scan.brain, brain > 0)
    after = seeded(transform, subject)
    assert_same(after.get_composed_history()(subject), after)
    monai = RandSyntheticMSLesiond(["flair", "t1"], brain_mask_key="brain", **PARAMETRIC)
    assert torch.equal(monai.names.parts(item_of(phantom, brain=brain)).scan.brain, brain > 0)
    assert parts.content != ScanParts(images_of(phantom), phantom.affine, phantom.lesion_mask.byte()).content


def test_the_command_line_takes_a_brain_mask(tmp_path, capsys):
    paths = write_phantom(tmp_path)
    labels = file_phantom().labels
    brain = ((labels > 0) & (labels < 500)).astype(np.uint8)
    paths["brain"] = write_nifti(tmp_path / "brain.nii.gz", brain, file_phantom().affine)
    outcome = call(capsys, *arguments(paths, tmp_path / "out", "--num-lesions", 2))
    assert outcome.code == 0, outcome.err
    assert call(capsys, "replay", tmp_path / "out" / "plan.json").code == 0
    paths["brain"] = write_nifti(tmp_path / "none.nii.gz", 0 * brain, file_phantom().affine)
    outcome = call(capsys, *arguments(paths, tmp_path / "other"))
    assert outcome.code == 2
    assert "got an empty one" in outcome.err


# Labels of several classes.


def classes_of(phantom):
    """White matter 1, lesions 3, cerebrospinal fluid 4."""
    label = np.isin(phantom.labels, (2, 41)) + 4 * np.isin(phantom.labels, (4, 43))
    label[phantom.lesion_mask[0].numpy()] = 3
    return torch.from_numpy(label.astype(np.int16))[None]


def check_classes(before, after):
    changed = after != before
    assert changed.any()
    assert (after[changed] == 3).all()


def test_every_host_tells_lesions_from_other_classes(phantom, subject):
    label = classes_of(phantom)
    subject.lesion.set_data(label)
    after = seeded(SyntheticMSLesion(lesion_value=3, **PARAMETRIC), subject)
    check_classes(label, after.lesion.data)
    assert_same(after.get_composed_history()(subject), after)
    plain = seeded(SyntheticMSLesion(**PARAMETRIC), subject_of(phantom))
    assert torch.equal(after.flair.data, plain.flair.data)
    item = item_of(phantom, label=label)
    options = {"lesion_value": 3, "plan_key": "plan"}
    done = RandSyntheticMSLesiond(["flair", "t1"], prob=1, **options, **PARAMETRIC).set_random_state(0)(item)
    check_classes(label, done["label"].as_tensor())
    again = RenderMSLesionsd(["flair", "t1"], model="parametric", **options)({**item, "plan": done["plan"]})
    assert torch.equal(again["label"].as_tensor(), done["label"].as_tensor())
    with pytest.raises(LesionAugError, match="say which value is lesion: lesion_value"):
        SyntheticMSLesion(**PARAMETRIC)(subject)
    with pytest.raises(LesionAugError, match="Expected a lesion_value other than 0"):
        SyntheticMSLesion(lesion_value=0, **PARAMETRIC)(subject)


def test_the_command_line_tells_lesions_from_other_classes(tmp_path, capsys):
    paths = write_phantom(tmp_path)
    label = classes_of(file_phantom())[0].numpy()
    paths["lesions"] = write_nifti(tmp_path / "classes.nii.gz", label, file_phantom().affine)
    outcome = call(capsys, *arguments(paths, tmp_path / "out", "--num-lesions", 2, "--lesion-value", 3))
    assert outcome.code == 0, outcome.err
    after = tio.LabelMap(tmp_path / "out" / "lesion.nii.gz").data[0].numpy()
    check_classes(torch.from_numpy(label), torch.from_numpy(after.astype(np.int16)))
    replayed = call(capsys, "replay", tmp_path / "out" / "plan.json")
    assert "all bytes as before" in replayed.out, replayed.err


# Scans that cannot be worked with.


def upside_down(subject):
    for image in subject.get_images(intensity_only=False):
        image.affine = image.affine @ np.diag((1.0, -1, 1, 1))
    return subject


def halved(phantom):
    image = phantom.images["flair"].clone()
    image[:25] = 0
    return image[None]


def test_one_bad_scan_ends_no_training(phantom, subject):
    subject.flair.set_data(halved(phantom))
    with pytest.raises(BadScanError, match="Expected a whole head"):
        SyntheticMSLesion(images=["flair"], **PARAMETRIC)(subject)
    transform = SyntheticMSLesion(images=["flair"], on_bad_scan="skip", **PARAMETRIC)
    with pytest.warns(LesionAugWarning, match=r"A scan gets no lesions. Expected a whole head"):
        after = transform(subject)
    assert_same(after, subject)
    assert after.history[-1].plan["lesions"] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has been said
        assert_same(transform(subject), subject)
        assert seeded(transform, subject_of(phantom)).lesion.data.sum() > subject.lesion.data.sum()


def test_skipping_works_in_other_hosts_and_with_a_cache(phantom, tmp_path):
    bad = item_of(phantom, flair=halved(phantom) + 0.5)
    transform = RandSyntheticMSLesiond(["flair"], prob=1, on_bad_scan="skip", cache=tmp_path, **PARAMETRIC)
    with pytest.warns(LesionAugWarning, match="A scan gets no lesions"):
        done = transform(bad)
    for key, volume in bad.items():
        assert torch.equal(done[key].as_tensor(), volume.as_tensor())
    assert list(transform.fill(bad)) == []
    label = phantom.lesion_mask.byte()
    label[0, 0, 0, 0] = 7  # another value: which of them is lesion?
    parts = ScanParts({"flair": phantom.images["flair"][None] + 1}, phantom.affine, label)
    augmenter = lesion_augmenter(on_bad_scan="skip", **PARAMETRIC)
    with pytest.warns(LesionAugWarning, match="Expected a binary label"):
        plan, change = augmenter(parts, lambda count: 0)
    assert not plan.lesions
    images, after = parts.written(change)
    assert torch.equal(after, label)
    assert torch.equal(images["flair"], parts.images["flair"])


def test_a_policy_that_nobody_knows_is_told():
    with pytest.raises(LesionAugError, match="Expected a policy on_bad_scan among error, skip, got 'ignore'"):
        SyntheticMSLesion(on_bad_scan="ignore")


def test_a_wrong_name_is_no_bad_scan(subject):
    with pytest.raises(LesionAugError, match="Expected an image 'brain'"):
        SyntheticMSLesion(brain_mask="brain", on_bad_scan="skip", **PARAMETRIC)(subject)


# Crops.


def test_an_anatomy_survives_being_carried(phantom):
    scan = assemble_scan(images_of(phantom), phantom.affine, phantom.lesion_mask)
    anatomy = Anatomy(scan.brain, scan.eligible, scan.regions)
    back = uncarried(carried(anatomy))
    for name, value in vars(anatomy).items():
        assert torch.equal(getattr(back, name), value)
        assert getattr(back, name).dtype == value.dtype
    with pytest.raises(LesionAugError, match=r"Expected an anatomy of .* channels"):
        uncarried(scan.eligible)


def test_a_crop_gets_lesions_where_the_whole_head_has_room(phantom, subject):
    add, paint = AddAnatomy(), SyntheticMSLesion(anatomy="anatomy", **PARAMETRIC)
    whole = add(subject)
    eligible = whole.anatomy.data[1:2] > 0
    crop = tio.Crop((20, 2, 5, 23, 18, 4))(whole)
    with pytest.raises(LesionAugError, match=r"find the anatomy before cropping and carry it along"):
        SyntheticMSLesion(**PARAMETRIC)(crop)
    after = seeded(paint, crop)
    new = after.lesion.data.bool() & ~crop.lesion.data.bool()
    assert new.any()
    assert crop.anatomy.data[0:1][new].all()
    assert torch.equal(crop.anatomy.data[1:2] > 0, eligible[:, 20:-2, 5:-23, 18:-4])
    assert_same(after.get_composed_history()(subject), after)


def test_any_pipeline_of_torchio_moves_the_anatomy_along(subject):
    pipeline = tio.Compose(
        [
            AddAnatomy(),
            tio.RandomAffine(),
            tio.RandomFlip(axes=(0, 1, 2), flip_probability=1),
            tio.CropOrPad((32, 32, 32)),
            tio.ZNormalization(),
            SyntheticMSLesion(anatomy="anatomy", **PARAMETRIC),
        ]
    )
    after = seeded(pipeline, subject)
    assert sum(len(step.plan["lesions"]) for step in after.history if hasattr(step, "plan")) == 3
    assert after.spatial_shape == (32, 32, 32)


def test_a_crop_without_room_stays_as_it_is(subject):
    crop = tio.Crop((0, 42, 0, 52, 0, 42))(AddAnatomy()(subject))
    assert_same(seeded(SyntheticMSLesion(anatomy="anatomy", **PARAMETRIC), crop), crop)


def test_monai_crops_carry_their_anatomy(phantom):
    keys = ["flair", "t1", "label", "anatomy"]
    transform = Compose(
        [
            AddAnatomyd(["flair", "t1"]),
            RandSpatialCropd(keys, (30, 36, 30), random_center=True, random_size=False),
            RandSyntheticMSLesiond(["flair", "t1"], prob=1, anatomy_key="anatomy", plan_key="plan", **PARAMETRIC),
        ]
    ).set_random_state(3)
    after = transform(item_of(phantom))
    assert after["flair"].shape == (1, 30, 36, 30)
    assert '"diameter_mm"' in after["plan"]
    new = after["label"].as_tensor().bool()
    assert (after["anatomy"].as_tensor()[0:1][new] > 0).float().mean() > 0.99
