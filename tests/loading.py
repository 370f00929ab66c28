"""Datasets and questions that loader workers of every start method can import."""

from __future__ import annotations

import sys

import torch
import torchio as tio
from phantoms import brain_phantom

from lesionaug import SyntheticMSLesion
from lesionaug.loaded import ModelChoice, loaded_renderer

NETWORKS = ("lesionaug.networks.compact", "lesionaug.models.diffmask", "lesionaug.models.lefusion")
"""Modules that are imported when weights are loaded."""


def subjects(count):
    """Copies of one phantom."""
    phantom = brain_phantom((50, 60, 50), (3.0, 3.0, 3.0))
    return [
        tio.Subject(
            flair=tio.ScalarImage(tensor=phantom.images["flair"][None], affine=phantom.affine),
            t1=tio.ScalarImage(tensor=phantom.images["t1w"][None], affine=phantom.affine),
            lesion=tio.LabelMap(tensor=phantom.lesion_mask.to(torch.uint8), affine=phantom.affine),
        )
        for _ in range(count)
    ]


def dataset(count=4, **options):
    """Each with new lesions."""
    return tio.SubjectsDataset(subjects(count), SyntheticMSLesion(model="parametric", num_lesions=3, **options))


def tensors(batch):
    """What of a batch is to be compared."""
    return [subject[name].data for subject in batch for name in ("flair", "t1", "lesion")]


class WhatAWorkerHas(torch.utils.data.Dataset):
    """Says what asking for a renderer has done to a worker."""

    def __init__(self, **choice):
        self.choice = ModelChoice(**choice)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        renderer = loaded_renderer(self.choice)
        networks = [
            name for name in sys.modules if name.startswith(("lesionaug.networks", "lesionaug.models.diffmask"))
        ]
        return renderer, networks, torch.cuda.is_initialized()


def the_item(batch):
    """Of a batch of one."""
    return batch[0]


class LesionBatches:
    """What nnU-Net's augmenter wants of a data loader."""

    def __init__(self, request):
        self.request, self.thread_id = request, 0

    def set_thread_id(self, thread_id):
        self.thread_id = thread_id

    def __iter__(self):
        return self

    def __next__(self):
        lesions = loaded_renderer(ModelChoice(model="parametric"))(self.request)
        return {"data": torch.stack([lesion.image for lesion in lesions]).numpy()}
