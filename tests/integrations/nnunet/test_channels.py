"""Channels and labels are found by their names, or the error says how to name them."""

import pytest
import torch
from lesionaug.integrations.nnunet.channels import roles_of
from lesionaug.integrations.nnunet.settings import NnunetSettings

from lesionaug.errors import LesionAugError

LABELS = {"background": 0, "lesion": 1}


def roles(names, labels=LABELS, **settings):
    numbered = {str(number): name for number, name in enumerate(names)}
    return roles_of({"channel_names": numbered, "labels": labels}, NnunetSettings(**settings))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["FLAIR"], (("flair", 0),)),
        (["T1w", "T2-FLAIR"], (("flair", 1), ("t1w", 0))),
        (["T1CE", "T2", "Flair", "T1"], (("flair", 2), ("t1w", 3), ("t2w", 1))),
    ],
)
def test_channels_by_name(names, expected):
    assert roles(names).channels == expected


def test_an_old_dataset_names_modalities():
    assert roles_of({"modality": {"0": "FLAIR"}, "labels": LABELS}, NnunetSettings()).channels == (("flair", 0),)


@pytest.mark.parametrize("wanted", [1, "1", "zscore B"])
def test_channels_by_settings(wanted):
    assert roles(["zscore A", "zscore B"], channels={"flair": wanted}).channels == (("flair", 1),)


@pytest.mark.parametrize("names", [["zscore"], ["CT", "PET"], ["T1", "T1w"], []])
def test_no_channel_can_be_told(names):
    with pytest.raises(LesionAugError, match=r'LESIONAUG_NNUNET_CONFIG.*\{"channels": \{"flair": 0\}\}'):
        roles(names)


def test_settings_name_a_channel_that_is_not_there():
    with pytest.raises(LesionAugError, match=r"0: FLAIR.*got 'FLAIR3D'"):
        roles(["FLAIR"], channels={"flair": "FLAIR3D"})


@pytest.mark.parametrize(
    ("labels", "chosen", "lesion", "lesions", "ignore"),
    [
        (LABELS, None, 1, (1,), None),
        ({"background": 0, "foreground": 3}, None, 3, (3,), None),
        ({"background": 0, "white matter": 1, "MS lesion": 2, "ignore": 3}, None, 2, (2,), 3),
        ({"background": 0, "whole lesion": [1, 2], "core": [2]}, None, 1, (1, 2), None),
        ({"background": 0, "whole lesion": [1, 2], "core": [2]}, "core", 2, (2,), None),
    ],
)
def test_labels(labels, chosen, lesion, lesions, ignore):
    found = roles(["FLAIR"], labels, lesion_label=chosen)
    assert (found.lesion, found.lesions, found.ignore) == (lesion, lesions, ignore)


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        ({"background": 0, "tumor": 1, "oedema": 2}, None),
        ({"background": 0, "old lesion": 1, "new lesion": 2}, None),
        (LABELS, "plaque"),
        ({"background": 0}, None),
    ],
)
def test_no_label_can_be_told(labels, chosen):
    with pytest.raises(LesionAugError, match=r"one label of lesions.*lesion_label"):
        roles(["FLAIR"], labels, lesion_label=chosen)


def test_what_may_be_written():
    found = roles(["FLAIR"], {"background": 0, "grey": 1, "lesion": 2, "ignore": 3})
    label = torch.tensor([[[[-1, 0, 1, 2, 3]]]], dtype=torch.int16)
    assert found.writable(label).flatten().tolist() == [False, True, True, True, False]
    assert found.lesion_mask(label).flatten().tolist() == [False, False, False, True, False]
