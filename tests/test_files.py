"""What was rendered is what is written."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from scan_files import call, write_phantom

from lesionaug.files import read_scan


def written(content, tmp_path, name="flair.nii.gz"):
    (tmp_path / name).write_bytes(content[name])
    return np.asarray(nib.load(tmp_path / name).dataobj)


def test_what_changed_around_a_label_is_written_too(tmp_path):
    files = read_scan(write_phantom(tmp_path))
    lesion, halo = (torch.zeros_like(files.scan.lesion_mask) for _ in range(2))
    lesion[0, 20, 30, 25] = True
    halo[0, 21, 30, 25] = True
    image = files.scan.image + 7 * (lesion | halo)
    outputs = files.outputs(replace(files.scan, image=image, lesion_mask=files.scan.lesion_mask | lesion))
    after, before = written(outputs, tmp_path), files.images["flair"].stored
    assert np.array_equal(after - before, 7 * (lesion | halo)[0].numpy())
    label = written(outputs, tmp_path, "lesion.nii.gz")
    assert np.array_equal(label > 0, (files.scan.lesion_mask | lesion)[0].numpy())


@pytest.mark.slow
def test_halos_get_into_files(tmp_path, capsys):
    paths = write_phantom(tmp_path)
    words = (
        "synthesize",
        "--flair",
        paths["flair"],
        "--num-lesions",
        2,
        "--diameter-mm",
        8,
        12,
        "--seed",
        0,
        "--no-gate",
    )
    changed = {}
    for name, more in (("bare", ("--no-halo",)), ("halo", ())):
        assert call(capsys, *words, "--output", tmp_path / name, *more).code == 0
        after, label = (np.asarray(nib.load(tmp_path / name / f"{n}.nii.gz").dataobj) for n in ("flair", "lesion"))
        changed[name] = (after != np.asarray(nib.load(paths["flair"]).dataobj)) & (label == 0)
    assert not changed["bare"].any()
    assert changed["halo"].any()
