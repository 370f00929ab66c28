"""A longitudinal case: the lesions of one plan at two visits, in the same scan, and what became of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch

from lesionaug.dataset.cases import Case, seed_of
from lesionaug.dataset.hosts import host_of
from lesionaug.dataset.place import CHANGE, PLAN_FILE, at_visit
from lesionaug.dataset.produce import Product, draw, label_bytes, planned
from lesionaug.dataset.settings import Settings
from lesionaug.evolution import BASELINE, CHANGES, FOLLOWUP, VISITS, Evolution, evolve
from lesionaug.files import ScanFiles, with_outputs
from lesionaug.loaded import loaded_renderer
from lesionaug.scan import LesionPlan, Scan
from lesionaug.types import Instances


def produce_pair(case: Case, settings: Settings, *, binary_label: bool) -> Product:
    """Plan a case once, and render both visits.

    Each visit has a record of its own, which `lesionaug replay` takes like any other.

    Args:
        case: To make.
        settings: Of the data set, with changes.
        binary_label: As for `lesionaug.dataset.produce.produce`.

    Raises:
        LesionAugError: Its files cannot be used.
    """
    host = host_of(case.source, settings)
    record, told = planned(case, settings, host)
    evolution = _evolution(LesionPlan.from_dict(record.plan), case, settings, host.files)
    records, files, visits = {}, {}, {}
    for visit in VISITS:
        plan = evolution.at(visit)
        visits[visit] = draw(plan, host.files, settings, binary_label=binary_label, numbers=evolution.numbers(visit))
        of_visit = with_outputs(replace(record, plan=plan.to_dict()), visits[visit].outputs, visits[visit].left_out)
        records[at_visit(visit, PLAN_FILE)] = of_visit
        files |= {at_visit(visit, name): content for name, content in visits[visit].files.items()}
    numbers = {visit: drawn.numbers for visit, drawn in visits.items()}
    files[CHANGE] = label_bytes(host.files, change_label(evolution, numbers, host.files.scan))
    facts = {
        "channels": list(host.files.images),
        "new": visits[FOLLOWUP].facts,
        BASELINE: visits[BASELINE].facts,
        "changes": dict(Counter(lesion.change for lesion in evolution.lesions)),
        **host.facts,
        "warnings": told,
    }
    return Product(records, files, facts)


def change_label(evolution: Evolution, numbers: dict[str, Instances], scan: Scan) -> np.ndarray:
    """What becomes of the lesion at each voxel, of both visits; the host's own lesions are stable."""
    classes = torch.tensor([0, *(CHANGES.index(lesion.change) + 1 for lesion in evolution.lesions)])
    changes = scan.lesion_mask[0].long() * (CHANGES.index("stable") + 1)
    for visit in VISITS:
        now = classes[numbers[visit][0].long()]
        changes = torch.where(now > 0, now, changes)
    return changes.numpy()


def _evolution(plan: LesionPlan, case: Case, settings: Settings, files: ScanFiles) -> Evolution:
    generator = torch.Generator().manual_seed(seed_of(case.seed, "changes", 0))
    # A lesion is drawn in voxels of the model, even where those of the scan are finer.
    voxel_mm3 = max(files.scan.voxel_mm3, loaded_renderer(settings.models).spacing_mm ** 3)
    return evolve(plan, generator, voxel_mm3, settings.changes or CHANGES)
