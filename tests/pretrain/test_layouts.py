"""A layout says which files are one scan, and whose scans they are; nothing else."""

import json

import pytest
from labelled_files import as_bids, as_folders, as_mslesseg, as_nnunet, as_open_ms, as_table, save_named

from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import find_scans

EXPECTED = {  # subject: patient, channels, whether there is a label, whether there is a brain mask
    "mslesseg": (
        as_mslesseg,
        {
            "P1_T1": ("P1", "flair t1w t2w", True, False),
            "P1_T2": ("P1", "flair t1w t2w", True, False),
            "P2_T1": ("P2", "flair t1w t2w", True, False),
            "P54": ("P54", "flair t1w", False, False),
        },
    ),
    "open_ms": (
        as_open_ms,
        {
            "patient01": ("patient01", "flair t1w t2w", True, True),
            "patient02": ("patient02", "flair", True, False),
            "patient03": ("patient03", "flair", True, False),
            "longitudinal-patient01_T1": ("longitudinal-patient01", "flair", False, True),
            "longitudinal-patient01_T2": ("longitudinal-patient01", "flair t1w", True, True),
        },
    ),
    "nnunet": (
        as_nnunet,
        {
            "MS_001_T1": ("MS_001", "flair t1w", True, False),
            "MS_001_T2": ("MS_001", "flair t1w", True, False),
            "MS_002_T1": ("MS_002", "flair t1w", True, False),
            "MS_003_T1": ("MS_003", "flair", False, False),
        },
    ),
    "bids": (
        as_bids,
        {
            "sub-01_ses-01": ("sub-01", "flair t1w", True, True),
            "sub-01_ses-02": ("sub-01", "flair t1w", True, True),
            "sub-02_ses-01": ("sub-02", "flair t1w", True, True),
        },
    ),
    "table": (as_table, {"a1": ("a", "flair t1w", True, True), "b1": ("b1", "flair", True, False)}),
    "folders": (
        as_folders,
        {
            "P1_T1": ("P1", "flair t1w", True, True),
            "patient02": ("patient02", "", True, True),
            "P9_T1": ("P9", "flair", False, False),
        },
    ),
}


@pytest.mark.parametrize("layout", EXPECTED)
def test_a_layout_is_recognised_and_its_scans_are_found(layout, tmp_path):
    write, expected = EXPECTED[layout]
    chosen, scans = find_scans(write(tmp_path))
    found = {s.subject: (s.patient, " ".join(sorted(s.images)), bool(s.lesions), bool(s.brain)) for s in scans}
    assert chosen == layout
    assert found == expected
    assert all(path.is_file() for scan in scans for path in (*scan.images.values(), scan.lesions, scan.brain) if path)


def test_a_patient_of_open_ms_is_taken_once_from_the_best_processing(tmp_path):
    scans = {scan.subject: scan for scan in find_scans(as_open_ms(tmp_path))[1]}
    assert scans["patient01"].note == "from coregistered"
    assert scans["patient02"].note == "from raw"
    assert scans["longitudinal-patient01_T2"].partial
    assert not scans["patient01"].partial


def test_only_labels_called_lesion_are_lesions_in_nnunet(tmp_path):
    assert {scan.lesion_values for scan in find_scans(as_nnunet(tmp_path))[1]} == {(1,)}


def test_images_of_the_lesion_masks_space_are_taken_first_in_bids(tmp_path):
    raw, derived = tmp_path / "sub-01/anat", tmp_path / "derivatives/reg/sub-01/anat"
    save_named(raw, {"flair": "sub-01_FLAIR", "t1w": "sub-01_T1w"})
    save_named(derived, {"flair": "sub-01_space-MNI_FLAIR", "lesion": "sub-01_space-MNI_label-lesion_mask"})
    (scan,) = find_scans(tmp_path)[1]
    assert scan.images["flair"].name == "sub-01_space-MNI_FLAIR.nii.gz"
    assert scan.images["t1w"].name == "sub-01_T1w.nii.gz"  # which the reader refuses if it lies on another grid


def without_names(folder):
    save_named(folder, {"flair": "scan", "lesion": "roi"})
    return folder


def nnunet_with(**changes):
    def write(folder):
        as_nnunet(folder)
        dataset = json.loads((folder / "dataset.json").read_text())
        (folder / "dataset.json").write_text(json.dumps({**dataset, **changes}))
        return folder

    return write


def table_with(text):
    def write(folder):
        (folder / "scans.csv").write_text(text)
        return folder / "scans.csv"

    return write


def two_lesion_masks(folder):
    as_bids(folder)
    save_named(folder / "sub-01/ses-01/anat", {"lesion": "sub-01_ses-01_label-lesion_run-2_mask"})
    return folder


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: folder / "nowhere", "got nothing at"),
        (lambda folder: folder, "files named otherwise .* name them in a table"),
        (without_names, "files named otherwise .* name them in a table"),
        (nnunet_with(channel_names={"0": "CT"}), "Expected channels called FLAIR, T1 or T2, .* got CT"),
        (nnunet_with(channel_names={"0": "T1", "1": "T1w"}), "each once, got T1, T1w"),
        (nnunet_with(labels={"background": 0, "a": 1, "b": 2}), "Expected a label whose name says lesion, got a, b"),
        (table_with("name,flair\nx,y\n"), "Expected a table with a column subject .* name what is missing"),
        (table_with("subject,lesion\n,y\n"), "column subject that is filled in"),
        (table_with("subject,lesion\n"), "Expected scans in layout table, got none"),
        (two_lesion_masks, "Expected one lesion mask of sub-01_ses-01, got"),
    ],
)
def test_sources_that_make_no_sense_are_explained(write, message, tmp_path):
    with pytest.raises(LesionAugError, match=message):
        find_scans(write(tmp_path))
