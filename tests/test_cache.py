"""A cached renderer is the renderer behind it, only that it need not be asked again."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from renderers import assert_same_lesions, check_renderer, small_request
from scans import random_diffmask, random_lefusion, small_plan, small_scan
from stores import MemoryStore

from lesionaug import cache
from lesionaug.cache import CachedRenderer, lesion_key
from lesionaug.errors import LesionAugWarning
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer, Renderer, RenderRequest
from lesionaug.store import FolderStore
from lesionaug.synthesis import LesionSynthesizer

RENDERERS = {
    "parametric": lambda: DiffusionRenderer(EllipsoidMasks(), ConstantContrast()),
    "compact": lambda: DiffusionRenderer(random_diffmask(), random_lefusion()),
}


@dataclass
class Counting:
    """A renderer that tells how many lesions it was asked for."""

    renderer: Renderer
    asked: list[int] = field(default_factory=list)

    def __getattr__(self, name):
        return getattr(self.renderer, name)

    @property
    def spacing_mm(self):
        return self.renderer.spacing_mm

    @property
    def channels(self):
        return self.renderer.channels

    def patch_shape(self, extent_mm):
        return self.renderer.patch_shape(extent_mm)

    def __call__(self, request, progress=None):
        self.asked.append(len(request.lesions))
        return self.renderer(request, progress)


@pytest.fixture(params=RENDERERS)
def renderer(request):
    return RENDERERS[request.param]()


def test_diffusion_renderer_obeys_the_laws(renderer):
    check_renderer(lambda: renderer)


def test_cached_renderer_obeys_them_with_the_same_bits(renderer, tmp_path):
    folders = iter(range(100))
    check_renderer(
        lambda: CachedRenderer(renderer, FolderStore(tmp_path / f"{next(folders)}"), "test"), reference=renderer
    )
    shared = MemoryStore()
    check_renderer(lambda: CachedRenderer(renderer, shared, "test"), reference=renderer)


def test_only_what_is_missing_is_rendered():
    counting = Counting(RENDERERS["parametric"]())
    cached = CachedRenderer(counting, MemoryStore(), "test")
    request = small_request(cached)
    few = RenderRequest(request.channels, request.lesions[1:3])
    cached(few)
    cached(request)
    cached(request)
    assert counting.asked == [2, 2]


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.7, 0.7, 0.7)])
def test_scans_get_the_same_lesions_from_the_cache(renderer, spacing_mm):
    scan, plan = small_scan(spacing_mm=spacing_mm), small_plan()
    expected = LesionSynthesizer(LesionPrior.load(), renderer).render(scan, plan)
    cached = LesionSynthesizer(LesionPrior.load(), CachedRenderer(renderer, MemoryStore(), "test"))
    for _ in range(2):
        found = cached.render(scan, plan)
        assert torch.equal(found.image, expected.image)
        assert torch.equal(found.lesion_mask, expected.lesion_mask)


def test_bits_survive_that_numbers_do_not_tell_apart():
    """Zeros of either sign, and whatever a model leaves outside its mask."""
    request = small_request(RENDERERS["parametric"]())
    asked = replace(request.lesions[0], background=torch.zeros_like(request.lesions[0].background))
    lesion = RENDERERS["parametric"]()(replace(request, lesions=(asked,)))[0]
    image = lesion.image.clone()
    image[0, 0, 0, :3] = torch.tensor([-0.0, float("nan"), 3e-42])
    lesion = replace(lesion, image=image)
    (again,) = (cache._unpacked(cache._packed(lesion, asked), asked),)
    assert_same_lesions((again,), (lesion,))


def test_everything_a_lesion_depends_on_is_in_its_key(monkeypatch):
    request = small_request(RENDERERS["parametric"]())
    lesion = request.lesions[0]
    changed = {
        "nothing": (lesion, request.channels, "test"),
        "background": (replace(lesion, background=lesion.background + 1e-6), request.channels, "test"),
        "brain": (replace(lesion, brain=~lesion.brain), request.channels, "test"),
        "allowed": (replace(lesion, allowed=~lesion.allowed), request.channels, "test"),
        "seed": (replace(lesion, spec=replace(lesion.spec, seed=7)), request.channels, "test"),
        "size": (replace(lesion, spec=replace(lesion.spec, diameter_mm=4.01)), request.channels, "test"),
        "contrast": (replace(lesion, spec=replace(lesion.spec, contrast=(("flair", 2.5),))), request.channels, "test"),
        "channels": (lesion, request.channels[::-1], "test"),
        "identity": (lesion, request.channels, "other"),
    }
    keys = [lesion_key(*arguments) for arguments in changed.values()]
    assert len(set(keys)) == len(changed)
    assert keys[0] == lesion_key(lesion, request.channels, "test")
    monkeypatch.setattr(cache, "RENDER_VERSION", cache.RENDER_VERSION + 1)
    assert lesion_key(lesion, request.channels, "test") not in keys


def test_damaged_entries_are_rendered_again(tmp_path):
    counting = Counting(RENDERERS["parametric"]())
    store = FolderStore(tmp_path)
    cached = CachedRenderer(counting, store, "test")
    request = small_request(cached)
    expected = cached(request)
    broken = next(store.entries()).path
    broken.write_bytes(broken.read_bytes()[:-5])
    assert_same_lesions(cached(request), expected)
    assert counting.asked == [4, 1]
    assert_same_lesions(cached(request), expected)
    assert counting.asked == [4, 1]


class FullStore(MemoryStore):
    def put(self, key, payload):
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_and_costs_only_time(renderer):
    cached = CachedRenderer(renderer, FullStore(), "test")
    request = small_request(cached)
    with pytest.warns(LesionAugWarning, match="No space left on device"):
        found = cached(request)
    assert_same_lesions(found, renderer(request))
