"""Two results are judged by what changed more than chance explains, and only if they can be compared."""

import json
import sys

import pytest
from result_samples import ORIGIN, cache, write_sample

from benchmarks.compare import Compare, judged, main, verdict_of
from benchmarks.quantities import READERS, Quantity, quantities
from benchmarks.result_files import VERSIONS, read_result, without_places, write_result
from benchmarks.speed.gathering import gathered
from lesionaug.errors import LesionAugError


def q(value: float | None, spread: float | None = 0.0, **changes) -> Quantity:
    return Quantity("group", "name", value, "s", spread, **changes)


def compared(before, after, **changes) -> int:
    return Compare(before, after, **changes).run()


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (q(1.0), q(1.0), "same"),
        (q(1.0), q(1.5), "worse"),
        (q(1.0), q(0.5), "better"),
        (q(1.0, more_is_better=True), q(0.5, more_is_better=True), "worse"),
        (q(1.0), q(1.05), "same"),  # within the tolerance
        (q(1.0, 0.4), q(1.5, 0.4), "same"),  # within what chance explains
        (q(1.0, 0.2), q(1.5, 0.2), "worse"),
        (q(1.0, None), q(1.2, None), "same"),  # nobody knows what chance explains
        (q(1.0, None), q(1.3, 0.0), "worse"),
        (q(0.0), q(0.0), "same"),
        (q(0.0), q(1.0), "worse"),
        (q(None), q(1.0), "not judged"),
        (None, q(1.0), "not judged"),
        (q(1.0), None, "not judged"),
    ],
)
def test_a_change_is_judged_by_its_direction_and_by_what_chance_explains(before, after, verdict):
    assert verdict_of(before, after, tolerance=0.1, blind=0.25) == verdict


def test_better_one_way_is_worse_the_other_way():
    for change in (0.3, 1.0, 4.0):
        there, back = (verdict_of(q(a), q(b), 0.1, 0.25) for a, b in ((1, change), (change, 1)))
        assert {there, back} in ({"same"}, {"better", "worse"})


def test_numbers_are_paired_by_name_whatever_their_order():
    first = [Quantity("a", "x", 1.0, spread=0.0), Quantity("a", "y", 2.0, spread=0.0)]
    assert {row.verdict for row in judged(first, first[::-1], 0.1, 0.25)} == {"same"}


def test_exit_code_tells_whether_anything_got_worse(tmp_path, capsys):
    fast, slow = (write_sample(tmp_path / f"{s}.json", "cache", cache(s)) for s in (0.01, 0.02))
    noisy = write_sample(tmp_path / "noisy.json", "cache", cache(0.012, 0.02))
    assert compared(fast, slow) == 1
    assert compared(slow, fast) == compared(fast, fast) == compared(fast, noisy) == 0
    assert "worse" in capsys.readouterr().out


def test_only_what_was_measured_alike_is_compared(tmp_path):
    one = write_sample(tmp_path / "one.json", "cache", cache())
    elsewhere = write_sample(tmp_path / "elsewhere.json", "cache", cache(), hardware={"cpu": "another"})
    busier = write_sample(tmp_path / "busier.json", "cache", cache(), hardware={"load_average": [9.0, 9.0, 9.0]})
    smaller = write_sample(tmp_path / "smaller.json", "cache", cache(), {"lesions": 1})
    other = write_sample(tmp_path / "other.json", "realism held", {"yardsticks": []})
    assert compared(one, busier) == 0
    with pytest.raises(LesionAugError, match="one machine, got cpu made up and another"):
        compared(one, elsewhere)
    assert compared(one, elsewhere, other_hardware=True) == 0
    with pytest.raises(LesionAugError, match="same settings, got lesions 10 and 1"):
        compared(one, smaller)
    with pytest.raises(LesionAugError, match=r"got cache in .* and realism held in"):
        compared(one, other)


def test_gathered_results_are_compared_file_by_file_whatever_these_are_called(tmp_path):
    def gathered_from(name, **changes):
        folder = tmp_path / name
        write_sample(folder / f"{name}.json", "cache", cache(), **changes)
        write_result(folder / "speed.json", "speed", {"quick": False}, ORIGIN, gathered(folder))
        return folder / "speed.json"

    one, same = gathered_from("one"), gathered_from("same")
    assert compared(one, same) == 0
    with pytest.raises(LesionAugError, match="cache 1: cpu made up and another"):
        compared(one, gathered_from("elsewhere", hardware={"cpu": "another"}))
    with pytest.raises(LesionAugError, match="cache 1: lesions 10 and 1"):
        compared(one, gathered_from("smaller", config={"lesions": 1}))


def test_files_that_share_no_number_are_refused(tmp_path):
    one, other = (write_sample(tmp_path / f"{n}.json", "cache", cache(), {"lesions": n}) for n in (1, 2))
    with pytest.raises(LesionAugError, match="both have, got none"):
        compared(one, other, other_settings=True)


def test_other_versions_and_other_files_are_refused(tmp_path):
    old = write_sample(tmp_path / "old.json", "cache", cache())
    old.write_text(json.dumps(json.loads(old.read_text()) | {"version": 0}))
    with pytest.raises(LesionAugError, match="in version 1, got 0"):
        read_result(old)
    for name, content in {"list.json": "[1]", "torn.json": '{"benchmark": "cac', "none.json": "{}"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(LesionAugError, match=name):
            read_result(tmp_path / name)
    with pytest.raises(LesionAugError, match=r"missing\.json"):
        read_result(tmp_path / "missing.json")


def test_yardsticks_of_other_models_are_compared_with_what_real_lesions_vary(tmp_path):
    def held(name, value, error, worst_real):
        row = {"name": "KS", "value": value, "aim": 0.1, "at_least": False, "floor": 0.1, "note": "", "reached": None}
        found = {"yardsticks": [row | {"error": error, "worst_real": worst_real}]}
        return write_sample(tmp_path / name, "realism held", found, {"lefusion": name})

    assert compared(held("a.json", 0.2, None, 0.2), held("b.json", 0.3, None, 0.2)) == 0
    assert compared(held("a.json", 0.2, None, 0.11), held("b.json", 0.3, None, 0.11)) == 1
    assert compared(held("a.json", 0.7, 0.05, None), held("b.json", 0.8, 0.05, None)) == 0
    assert compared(held("a.json", 0.7, 0.01, None), held("b.json", 0.8, 0.01, None)) == 1


def test_the_command_says_in_one_line_why_not(tmp_path, monkeypatch, capsys):
    one = write_sample(tmp_path / "one.json", "cache", cache())
    monkeypatch.setattr(sys, "argv", ["compare", str(one), str(tmp_path / "missing.json")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: Expected a result of a benchmark")


def test_committed_results_can_be_read_and_equal_themselves(committed):
    for path in committed:
        result = read_result(path)
        if result["benchmark"] in READERS:
            found = quantities(result)
            assert len({quantity.key for quantity in found}) == len(found)
            assert compared(path, path) == 0


def test_downstream_has_the_version_of_its_own_files():
    pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")
    from benchmarks.downstream.runs import VERSION

    assert VERSIONS["downstream"] == VERSION


def test_results_name_no_folder_of_the_machine(tmp_path):
    write_sample(tmp_path / "a.json", "cache", cache(), {"flair": tmp_path / "flair.nii.gz", "output": "/x/y.json"})
    config = read_result(tmp_path / "a.json")["config"]
    assert config["flair"] == "flair.nii.gz"
    assert "output" not in config
    assert str(tmp_path) not in (tmp_path / "a.json").read_text()
    assert without_places({"a": ["/somewhere/b.json", "c/d.json", 3]}) == {"a": ["b.json", "c/d.json", 3]}
