"""The page holds all it needs, shows every case asked for, and looks right in a browser."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scan_files import arguments, call, phantom, write_nifti, write_phantom

from lesionaug.cli import main
from lesionaug.report.mosaic import middle_of_largest, read_view

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

INSPECTION = """<script>addEventListener("load", () => {
  const images = [...document.images], drawings = [...document.querySelectorAll(".plots svg")];
  document.title = JSON.stringify({
    images: images.filter(image => image.naturalWidth > 500).length,
    drawings: drawings.filter(drawing => drawing.getBoundingClientRect().width > 200).length,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    requests: performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length,
  });
});</script>"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """One host with lesions, one file that is not there."""
    folder = tmp_path_factory.mktemp("report")
    paths = write_phantom(folder)
    rows = [f"A,{paths['flair']},{paths['t1w']},{paths['lesions']}", "gone,gone.nii.gz,,"]
    (folder / "scans.csv").write_text("\n".join(["subject,flair,t1w,lesion", *rows]))
    words = ["generate", folder / "scans.csv", "--output", folder / "out", "--variants", 2, "--num-lesions", 4]
    words += ["--diameter-mm", 5, 9]  # large enough for a contrast to be measured
    assert main([str(word) for word in (*words, "--model", "parametric")]) == 2
    return folder / "out"


@pytest.fixture(scope="module")
def masks(tmp_path_factory) -> list[Path]:
    """Of six patients, with brain masks beside."""
    folder, scan = tmp_path_factory.mktemp("masks"), phantom()
    rng = np.random.default_rng(0)
    brain = (scan.labels > 0).astype(np.uint8)
    for name in range(6):
        seeds = np.isin(scan.labels, (2, 41)) & (rng.random(brain.shape) < 0.002)
        write_nifti(folder / f"p{name}_lesion.nii.gz", seeds.astype(np.uint8), scan.affine)
        write_nifti(folder / f"p{name}_brainmask.nii.gz", brain, scan.affine)
    return sorted(folder.glob("*_lesion.nii.gz"))


@pytest.fixture(scope="module")
def page(dataset, masks) -> Path:
    target = dataset.parent / "page.html"
    words = ["report", dataset, "--reference", *masks, "--output", target]
    assert main([str(word) for word in words]) == 0
    return target


class Links(html.parser.HTMLParser):
    """Everything that a browser would fetch."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert not [link for link in Links(text).found if not link.startswith(("data:", "#"))]
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_says_what_is_there(page):
    text = page.read_text()
    for said in ("A_v000", "A_v001", "gone_v000", "Expected a NIfTI file", "num_lesions = 4", "parametric", "floor"):
        assert said in text, said
    assert text.count("data:image/jpeg;base64,") == 2
    for measure in ("lesion volume", "lesions per scan", "lesion load", "periventricular", "contrast in t1w"):
        assert measure in text, measure


def test_the_same_data_set_makes_the_same_page(page, dataset, masks, tmp_path, capsys):
    assert call(capsys, "report", dataset, "--reference", *masks, "--output", tmp_path / "again.html").code == 0
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_source_that_is_gone_is_told_in_its_place(dataset, tmp_path, capsys):
    source = dataset.parent / "flair_scan.nii.gz"
    source.rename(tmp_path / "elsewhere.nii.gz")
    try:
        assert call(capsys, "report", dataset, "--pictures", 1, "--output", tmp_path / "page.html").code == 0
    finally:
        (tmp_path / "elsewhere.nii.gz").rename(source)
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64,") == 1


def test_what_is_no_data_set_is_refused(tmp_path, capsys):
    outcome = call(capsys, "report", tmp_path)
    assert outcome.code == 2
    assert "Expected a data set made by `lesionaug generate`" in outcome.err
    assert not list(tmp_path.iterdir())


def test_one_scan_is_refused_with_the_command_that_shows_it(dataset, tmp_path, capsys):
    paths = {role: dataset.parent / f"{role}_scan.nii.gz" for role in ("flair", "t1w")}
    assert call(capsys, *arguments(paths, tmp_path / "one", "--num-lesions", 2)).code == 0
    outcome = call(capsys, "report", tmp_path / "one")
    assert outcome.code == 2
    command = re.search(r"lesionaug (replay \S+ --preview)", outcome.err)
    assert command
    assert call(capsys, *command[1].split()).code == 0
    assert (tmp_path / "one" / "preview.png").stat().st_size > 10_000


def test_a_case_is_shown_where_its_largest_lesion_is_and_as_far_as_its_brain_goes(dataset):
    line = json.loads((dataset / "manifest.jsonl").read_text().splitlines()[0])
    label = nib.load(dataset / line["files"]["lesion.nii.gz"])
    new = np.zeros(label.shape, bool)
    new[10:14, 20:24, 30], new[12, 21, 26:40], new[40, 40, 40] = True, True, True
    assert middle_of_largest(new)[2] == 30
    paths = {"flair": dataset / line["files"]["flair.nii.gz"]}
    view = read_view(paths, dataset / line["files"]["lesion.nii.gz"], {}, None, line["brain_box"])
    brain = np.argwhere(np.isin(phantom().labels, range(1, 500)))
    assert view.brain is not None
    box = np.argwhere(view.brain)
    assert np.abs(box.min(axis=0) - brain.min(axis=0)).max() <= 1
    assert np.abs(box.max(axis=0) - brain.max(axis=0)).max() <= 1


def test_references_without_masks_are_refused(dataset, tmp_path, capsys):
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "flair.nii.gz")
    outcome = call(capsys, "report", dataset, "--reference", tmp_path, "--output", tmp_path / "page.html")
    assert outcome.code == 2
    assert "Expected lesion masks" in outcome.err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [1400, 800])
def test_a_browser_shows_everything(page, width, tmp_path):
    inspected = tmp_path / "page.html"
    inspected.write_text(page.read_text().replace("</body>", INSPECTION + "</body>"))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},2000"]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{inspected}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title[1] == '{"images":2,"drawings":6,"overflow":0,"requests":0}'
