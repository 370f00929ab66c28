"""What every host's transform does with a scan: choose lesions, and render them or look them up.

ScanParts, one random integer ──► plan, fresh or one of the cache's variants ──► VoxelChange: what is to be written

The transforms of TorchIO, MONAI and others only find the images in their containers, and write the change into them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from lesionaug.checks import check_known
from lesionaug.errors import BadScanError, LesionAugError, LesionAugWarning
from lesionaug.fingerprint import fingerprint
from lesionaug.loaded import ModelChoice, loaded_prior, loaded_synthesizer
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import LesionPlan
from lesionaug.scan_parts import ScanParts
from lesionaug.serving.errors import LateRenderError, RemoteRenderError
from lesionaug.serving.late import OnLate, Patience
from lesionaug.variants import (
    CacheChoice,
    VoxelChange,
    cache_choice,
    change_key,
    plan_bytes,
    plan_from_bytes,
    plan_key,
    plan_seed,
)

Draw = Callable[[int], int]
"""A random integer from 0 to below a number, out of the host's own generator."""

OnBadScan = Literal["error", "skip"]

SEEDS = 2**31
"""As many as every host's generator can tell apart."""


@dataclass(frozen=True)
class LesionRendering:
    """The deterministic half: which models render, and where results are kept.

    Args:
        choice: The models.
        cached: Where results are kept, if anywhere.
        patience: With a render server.
    """

    choice: ModelChoice = field(default_factory=ModelChoice)
    cached: CacheChoice | None = None
    patience: Patience = field(default_factory=Patience)

    def change(self, parts: ScanParts, plan: LesionPlan) -> VoxelChange:
        """What rendering changes; out of the cache, if there is one, and otherwise into it."""
        if not plan.lesions:
            return VoxelChange.none(parts.images)
        if self.cached is None:
            return self._rendered(parts, plan)
        payload = self.cached.remembered(
            self._key(parts, plan), lambda: self._rendered(parts, plan).to_bytes(), "these lesions of this scan"
        )
        return VoxelChange.from_bytes(payload)

    def is_there(self, parts: ScanParts, plan: LesionPlan) -> bool:
        """Whether nothing need be rendered: what it changes is in the cache, whole, or nothing."""
        return not plan.lesions or (self.cached is not None and self.cached.found(self._key(parts, plan)) is not None)

    def check_digests(self, digests: Mapping[str, str]) -> None:
        """The models are those that a plan was made with; not checked when empty.

        Raises:
            LesionAugError: They are others.
        """
        found = self.choice.digests()
        if digests and found != digests:
            raise LesionAugError(
                f"Expected the models that the plan was made with, {digests}, got {found}; use those or plan again"
            )

    def _key(self, parts: ScanParts, plan: LesionPlan) -> str:
        return change_key(parts.content, plan.to_dict(), self.choice)

    def _rendered(self, parts: ScanParts, plan: LesionPlan) -> VoxelChange:
        return parts.change_to(loaded_synthesizer(self.choice, patience=self.patience).render(parts.scan, plan))


@dataclass(frozen=True)
class LesionAugmenter:
    """The random half: which lesions a scan gets this time.

    Args:
        rendering: How they are rendered.
        options: What is not left to the prior.
        prior: File of the prior, or the packaged one.
        variants: Sets of lesions per scan when there is a cache.
        on_bad_scan: Whether a scan that cannot be worked with is an `error`, or is left as it is, with a warning.

    Raises:
        LesionAugError: No variant, or a policy that needs a cache without one.
    """

    rendering: LesionRendering = field(default_factory=LesionRendering)
    options: PlanOptions = field(default_factory=PlanOptions)
    prior: str | None = None
    variants: int = 20
    on_bad_scan: OnBadScan = "error"

    def __post_init__(self) -> None:
        check_known("policy on_bad_scan", [self.on_bad_scan], get_args(OnBadScan))
        if self.variants < 1:
            raise LesionAugError(f"Expected 1 variant or more, got {self.variants}; leave it out for 20")
        if self.rendering.patience.on_late == "cache" and self.rendering.cached is None:
            raise LesionAugError("Expected a cache for on_late='cache', got none; name its folder: cache='...'")

    def __call__(self, parts: ScanParts, draw: Draw) -> tuple[LesionPlan, VoxelChange]:
        """Lesions for a scan: their plan, and what they change.

        Args:
            parts: Of the scan.
            draw: All that is random comes from it.

        Raises:
            LesionAugError: A scan that cannot be worked with, or that `cache_only` does not find.
        """
        return self.rendered(parts, self.drawn(parts, draw), draw)

    def drawn(self, parts: ScanParts, draw: Draw) -> LesionPlan:
        """A plan: one of the variants where there is a cache, and else a new one; none for a scan to be skipped."""
        number = draw(SEEDS if self.rendering.cached is None else self.variants)
        try:
            return self._planned(parts, number) if self.rendering.cached is None else self.variant(parts, number)
        except BadScanError as error:
            self._skip(parts, error)
            return LesionPlan()

    def rendered(self, parts: ScanParts, plan: LesionPlan, draw: Draw) -> tuple[LesionPlan, VoxelChange]:
        """What rendering a plan changes; another plan, if the render server is late or fails and the policy says so."""
        try:
            return plan, self.rendering.change(parts, plan)
        except (LateRenderError, RemoteRenderError) as error:
            if self.rendering.patience.on_late not in ("cache", "skip"):
                raise
            if isinstance(error, RemoteRenderError):  # lateness is counted and told where it is noticed
                warnings.warn(
                    f"The render server failed, and is asked again next time. {error}", LesionAugWarning, stacklevel=2
                )
            plan = self._instead(parts, draw)
            return plan, self.rendering.change(parts, plan)

    def variant(self, parts: ScanParts, variant: int) -> LesionPlan:
        """One of the plans that the cache has, or gets now, for a scan."""
        assert self.rendering.cached is not None
        key = self._key(parts, variant)
        payload = self.rendering.cached.remembered(
            key, lambda: plan_bytes(self._planned(parts, plan_seed(key))), f"variant {variant} of this scan"
        )
        return plan_from_bytes(payload)

    def fill(self, parts: ScanParts) -> Iterator[bool]:
        """Put the variants of a scan into the cache, one at a time, where they are not there yet.

        Yields:
            For each variant, whether it was rendered now.

        Raises:
            LesionAugError: There is no cache, or the scan cannot be worked with.
        """
        if self.rendering.cached is None:
            raise LesionAugError("Expected a cache to fill, got none; name its folder: cache='...'")
        for variant in range(self.variants):
            try:
                plan = self.variant(parts, variant)
            except BadScanError as error:
                self._skip(parts, error)
                return
            new = not self.rendering.is_there(parts, plan)
            if new:
                self.rendering.change(parts, plan)
            yield new

    def _planned(self, parts: ScanParts, seed: int) -> LesionPlan:
        if not parts.has_room(self.options.region_names):
            return LesionPlan()
        return loaded_prior(self.prior).sample(parts.scan, torch.Generator().manual_seed(seed), self.options)

    def _skip(self, parts: ScanParts, error: BadScanError) -> None:
        """Warn, once for each scan in a process.

        Raises:
            BadScanError: That is not what was asked for.
        """
        if self.on_bad_scan != "skip":
            raise error
        scan = "".join(map(fingerprint, parts.images.values()))
        if scan not in _SKIPPED:
            _SKIPPED.add(scan)
            warnings.warn(f"A scan gets no lesions. {error}", LesionAugWarning, stacklevel=2)

    def _key(self, parts: ScanParts, variant: int) -> str:
        return plan_key(parts.content, self.options, self.prior, self.rendering.choice, variant)

    def _instead(self, parts: ScanParts, draw: Draw) -> LesionPlan:
        """What there is without the server; it has told that it was late."""
        skips = self.rendering.patience.on_late == "skip"
        there = [] if skips else [*self._there(parts)]
        if not there and not skips:
            warnings.warn(
                "Expected a cached variant in place of the render server's answer, got none yet for this scan; "
                "no lesions were added. Fill the cache before: lesionaug cache fill",
                LesionAugWarning,
                stacklevel=2,
            )
        return there[draw(len(there))] if there else LesionPlan()

    def _there(self, parts: ScanParts) -> Iterator[LesionPlan]:
        """Plans that are in the cache together with what they change."""
        assert self.rendering.cached is not None
        for variant in range(self.variants):
            payload = self.rendering.cached.found(self._key(parts, variant))
            if payload is not None and self.rendering.is_there(parts, plan_from_bytes(payload)):
                yield plan_from_bytes(payload)


_SKIPPED: set[str] = set()
"""Fingerprints of scans about which this process has warned."""


def lesion_rendering(
    *,
    model: str = "default",
    diffmask: str | Path | None = None,
    lefusion: str | Path | None = None,
    device: Any = "cpu",
    num_steps: int | None = None,
    cache: str | Path | None = None,
    cache_only: bool = False,
    cache_gb: float | None = None,
    on_late: OnLate = "wait",
    deadline_s: float = 60.0,
) -> LesionRendering:
    """The deterministic half from a transform's arguments.

    Args:
        model: Packaged pair of models: `default` (diffusion) or `parametric` (the baseline without a network).
        diffmask: Folder of another mask model.
        lefusion: Folder of another inpainting model.
        device: Where the networks run. The result is always on the CPU.
        num_steps: Network calls per lesion, instead of each model's own number.
        cache: Folder for results, which any number of processes may share.
        cache_only: Use nothing but the cache: what is not there is an error, and models are never loaded.
        cache_gb: Size of the cache beyond which the longest unused results go; no limit if not given.
        on_late: What to do when a render server gives no answer in time: `wait`, take a variant that is in the
            `cache` already, `skip` the lesions, or stop with an `error`.
        deadline_s: Seconds after which the server counts as late.

    Raises:
        LesionAugError: An unknown model or policy, or options of a cache without one.
    """
    choice = ModelChoice(model, plain_path(diffmask), plain_path(lefusion), str(device), num_steps)
    cached = cache_choice(plain_path(cache), only=cache_only, limit_gb=cache_gb)
    return LesionRendering(choice, cached, Patience(on_late, deadline_s))


def lesion_augmenter(
    *,
    num_lesions: int | tuple[int, int] | Literal["patients"] | None = None,
    load_ml: float | tuple[float, float] | None = None,
    diameter_mm: tuple[float, float] | None = None,
    regions: str | Sequence[str] | None = None,
    contrast: float | tuple[float, float] = 1.0,
    overlap: bool = False,
    halo: bool = True,
    gate: bool = True,
    prior: str | Path | None = None,
    variants: int = 20,
    on_bad_scan: OnBadScan = "error",
    **rendering: Any,
) -> LesionAugmenter:
    """Both halves from a transform's arguments.

    Args:
        num_lesions: Number of lesions, or a `(low, high)` range to draw it from, 1 to 10 if nothing is given;
            `"patients"` draws whole patients' numbers and sizes.
        load_ml: Total lesion volume to add in ml, or a range; excludes `num_lesions`.
        diameter_mm: Range of the diameter of the ball that has the lesion's volume, 3 to 20 mm if not given.
        regions: Names from `lesionaug.scan.REGIONS` to which lesions are confined, or one of them.
        contrast: Factor on the contrast that the prior draws, or a range to draw the factor from.
        overlap: Whether new lesions may touch old ones.
        halo: Whether lesions show their partial volume around the label, as far as the scan's own blur says; without
            it no voxel outside new labels changes. Leave it on for training; turn it off where that promise matters
            more than looks.
        gate: Whether lesions that turn out badly are drawn again, and left out if that does not help: those that nobody
            could see, wires, labels over tissue as bright as the lesion.
        prior: File written by `lesionaug prior fit`.
        variants: Sets of lesions per scan when there is a `cache`.
        on_bad_scan: What to do with a scan that cannot be worked with (no brain is found, or it does not fit the atlas;
            NaN; a label of several classes): `error`, or `skip`: leave it as it is, and warn once.
        **rendering: As for `lesion_rendering`.

    Raises:
        LesionAugError: An unknown region or model, or values that cannot be meant.
    """
    options = PlanOptions(
        num_lesions=num_lesions,
        load_ml=load_ml,
        diameter_mm=diameter_mm,
        regions=regions if regions is None or isinstance(regions, str) else tuple(regions),
        contrast=contrast,
        overlap=overlap,
        halo=halo,
        gate=gate,
    )
    return LesionAugmenter(lesion_rendering(**rendering), options, plain_path(prior), variants, on_bad_scan)


def plain_path(path: str | Path | None) -> str | None:
    """A path as text, which travels and compares everywhere."""
    return None if path is None else str(path)
