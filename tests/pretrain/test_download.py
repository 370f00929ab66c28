"""What was downloaded is what was downloaded before: here, over file:// addresses."""

import hashlib
import json
import shutil
import zipfile

import pytest
from labelled_files import as_mslesseg
from lesionaug.pretrain.download import ARCHIVES, CHECKSUMS, Download, read_checksums

from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import find_scans


@pytest.fixture
def archive(tmp_path):
    """A ZIP file of scans, as the data sets are."""
    as_mslesseg(tmp_path / "scans")
    return shutil.make_archive(str(tmp_path / "MSLesSeg Dataset"), "zip", tmp_path / "scans")


@pytest.fixture
def listing(archive, tmp_path):
    """What figshare tells of an article's files."""
    md5 = hashlib.md5((tmp_path / "MSLesSeg Dataset.zip").read_bytes()).hexdigest()
    url = (tmp_path / "MSLesSeg Dataset.zip").as_uri()
    files = [{"name": "readme.txt", "download_url": "file:///nowhere"}]
    files += [{"name": "MSLesSeg Dataset.zip", "download_url": url, "computed_md5": md5}]
    (tmp_path / "files").write_text(json.dumps(files))
    return tmp_path / "files"


def download(tmp_path, source, **options):
    Download("mslesseg", tmp_path / "out", url=source if "://" in str(source) else source.as_uri(), **options).run()
    return tmp_path / "out"


def test_what_is_downloaded_can_be_prepared_and_is_recorded(listing, tmp_path, capsys):
    folder = download(tmp_path, listing)
    assert find_scans(folder)[0] == "mslesseg"
    sums = read_checksums(folder / CHECKSUMS)
    assert set(sums) == {p.relative_to(folder).as_posix() for p in folder.rglob("*.nii.gz")}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    out = capsys.readouterr().out
    assert "CC BY 4.0; cite Guarnera" in out
    assert f"{len(sums)} files as recorded" in out


def test_a_second_run_compares_and_fetches_nothing(listing, tmp_path, capsys):
    folder = download(tmp_path, listing)
    listing.unlink()
    download(tmp_path, listing)
    victim = next(folder.rglob("*_MASK.nii.gz"))
    victim.write_bytes(victim.read_bytes() + b"\0")
    with pytest.raises(LesionAugError, match=f"got 1 that differ and 0 that are missing .*{victim.name}"):
        download(tmp_path, listing)
    victim.unlink()
    with pytest.raises(LesionAugError, match="got 0 that differ and 1 that are missing"):
        download(tmp_path, listing)


def test_sums_of_another_machine_are_compared(listing, tmp_path):
    known = tmp_path / "known.sha256"
    shutil.copy(download(tmp_path, listing) / CHECKSUMS, known)
    shutil.rmtree(tmp_path / "out")
    download(tmp_path, listing, checksums=known)
    lines = known.read_text().splitlines()
    known.write_text("\n".join([f"{'0' * 64}  {lines[0].split('  ')[1]}", *lines[1:]]))
    with pytest.raises(LesionAugError, match=r"files of .*known.sha256, got 1 that differ"):
        download(tmp_path, listing, checksums=known)


def broken_zip(folder):
    (folder / "a.zip").write_text("<html>not found</html>")
    return folder / "a.zip"


def other_md5(folder):
    (folder / "a.zip").write_bytes(b"")
    file = {"name": "a.zip", "download_url": (folder / "a.zip").as_uri(), "computed_md5": "0" * 32}
    (folder / "files").write_text(json.dumps([file]))
    return folder / "files"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: folder / "nothing.zip", "Expected to reach file:///.*nothing.zip, got .*download it by hand"),
        (broken_zip, "Expected a ZIP file"),
        (other_md5, f"Expected MD5 {'0' * 32} as published, got d41d8cd9"),
    ],
)
def test_a_failed_download_leaves_nothing(write, message, tmp_path):
    with pytest.raises(LesionAugError, match=message):
        download(tmp_path, write(tmp_path))
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.partial*"))


def test_other_peoples_files_are_left_alone(tmp_path, archive):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    with pytest.raises(LesionAugError, match="Expected a new folder or an earlier download"):
        download(tmp_path, tmp_path / "MSLesSeg Dataset.zip")


@pytest.mark.parametrize("text", ["", "abc  file\n", f"{'0' * 64}  ../../etc/passwd\n", "one-word\n"])
def test_lists_that_are_no_checksums_are_refused(text, tmp_path):
    (tmp_path / "sums").write_text(text)
    with pytest.raises(LesionAugError, match=r"Expected .*checksums|Expected lines of SHA-256"):
        read_checksums(tmp_path / "sums")


def test_archives_cannot_write_outside_of_the_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../../escaped.txt", "x")
    download(tmp_path, tmp_path / "a.zip")
    assert not list(tmp_path.parent.glob("escaped.txt"))
    assert (tmp_path / "out/escaped.txt").exists()


def test_every_data_set_names_its_licence_and_its_papers():
    for archive in ARCHIVES.values():
        assert archive.url.startswith("https://")
        assert archive.licence.startswith("CC BY")
        assert "doi:" in archive.cite
