"""A server gives every requester what its own process would have given it, whoever else asks."""

import json
import multiprocessing
import pickle
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from faulty_renderers import RAISES, REFUSES, with_seeds
from renderers import assert_same_lesions, check_renderer
from waiting import count, eventually

from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.serving import late, parcels, pool
from lesionaug.serving.channel import connect
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.errors import LateRenderError, RemoteRenderError
from lesionaug.serving.late import LateCount, Patience
from lesionaug.serving.parcels import rendered_to_bytes
from lesionaug.serving.place import Place
from lesionaug.serving.status import describe
from lesionaug.serving.wire import decode, encode


def bytes_from_server(address, request, results):
    torch.set_num_threads(1)
    results.put(rendered_to_bytes(ServedRenderer(address)(request)))


def bytes_in_processes(count, address, request):
    """What `count` forked processes get that ask at the same time."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=bytes_from_server, args=(address, request, results)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    return found


def test_a_served_renderer_keeps_the_laws_and_the_bits(server, here):
    check_renderer(lambda: ServedRenderer(server.address), here)


@pytest.mark.parametrize("count", [1, 8])
def test_processes_get_the_bytes_of_this_process(server, here, request_of_four, count):
    ServedRenderer(server.address)(request_of_four)  # the forked processes inherit a connection that is not theirs
    expected = rendered_to_bytes(here(request_of_four))
    assert bytes_in_processes(count, server.address, request_of_four) == [expected] * count


def test_threads_of_one_process_do_not_get_each_others_lesions(server, here, request_of_four):
    requests = [with_seeds(request_of_four, n, n + 1) for n in range(8)]
    with ThreadPoolExecutor(4) as threads:
        for request, found in zip(requests, threads.map(ServedRenderer(server.address), requests), strict=True):
            assert_same_lesions(found, here(request))


def test_lesions_of_several_requesters_share_batches(server, request_of_four):
    before = ServedRenderer(server.address).status()["batch_sizes"]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ServedRenderer(server.address), [with_seeds(request_of_four, n) for n in range(40)]))
    after = ServedRenderer(server.address).status()["batch_sizes"]
    assert any(after[size] > before.get(size, 0) for size in after if int(size) > 1)


def test_it_is_plain_data(server, here, request_of_four):
    renderer = ServedRenderer(server.address)
    renderer(request_of_four)
    copy = pickle.loads(pickle.dumps(renderer))
    assert copy == renderer
    assert len(pickle.dumps(renderer)) < 500
    assert_same_lesions(copy(request_of_four), here(request_of_four))


def test_a_model_that_raises_fails_that_request_alone(server, here, request_of_four):
    good = [with_seeds(request_of_four, n, n + 1) for n in range(3)]
    bad = with_seeds(request_of_four, 5, RAISES, 6)
    renderer, together = ServedRenderer(server.address), threading.Barrier(4)

    def ask(request):
        together.wait(30)
        return renderer(request)

    with ThreadPoolExecutor(4) as threads:
        failing, *others = [threads.submit(ask, request) for request in (bad, *good)]
        with pytest.raises(RemoteRenderError, match="faulty_renderers") as error:
            failing.result(60)
        for future, request in zip(others, good, strict=True):
            assert_same_lesions(future.result(60), here(request))
    assert "ZeroDivisionError: as the test wants it" in str(error.value)


def test_what_the_user_can_act_on_is_the_same_error_as_in_this_process(server, here, request_of_four):
    renderer = ServedRenderer(server.address)
    with pytest.raises(LesionAugError, match="Expected another seed") as error:
        renderer(with_seeds(request_of_four, REFUSES))
    assert "Traceback" not in str(error.value)
    unknown = type(request_of_four)(("flair", "ct"), request_of_four.lesions)
    for one in (here, renderer):
        with pytest.raises(LesionAugError, match="Expected channels among flair, t1w, t2w, got ct"):
            one(unknown)


def test_errors_survive_the_way_out_of_a_loader_worker():
    for kind in (LateRenderError, RemoteRenderError):
        assert str(pickle.loads(pickle.dumps(kind("why")))) == str(kind("why"))


def test_other_models_than_the_expected_are_refused(server, request_of_four):
    renderer = ServedRenderer(server.address, identity=(("diffmask", "another"),))
    with pytest.raises(LesionAugError, match="Expected a render server with the models"):
        renderer(request_of_four)


def test_a_server_that_outlived_an_update_is_refused(server, request_of_four, monkeypatch):
    monkeypatch.setattr(parcels, "VERSION", "a later one")
    with pytest.raises(LesionAugError, match="start it again"):
        ServedRenderer(server.address)(request_of_four)


def test_patch_shapes_are_the_servers_and_soon_known(server, here):
    pool.close_all()
    renderer = ServedRenderer(server.address)
    extents_mm = [n / 8 for n in range(8, 500, 7)] + [10.0, 18.0, 26.0, 42.0]  # the last are where shapes change
    for _ in range(2):
        assert [renderer.patch_shape(extent) for extent in extents_mm] == [here.patch_shape(x) for x in extents_mm]
    link = pool.take(server.address)
    assert all(link.shapes.find(extent) == here.patch_shape(extent) for extent in extents_mm)
    assert all(link.shapes.find(extent + 0.01) == here.patch_shape(extent + 0.01) for extent in (11.0, 19.5, 30.0))
    assert link.shapes.find(1000.0) is None
    link.connection.close()


def test_the_status_counts(server, request_of_four):
    renderer = ServedRenderer(server.address)
    before = renderer.status()
    renderer(request_of_four)
    eventually(lambda: count(server, "answered") > before["answered"])
    after = renderer.status()
    assert after["requests"] == before["requests"] + 1
    assert after["answered"] == before["answered"] + 1
    assert after["lesions"] == before["lesions"] + 4
    assert after["waiting"] == 0
    assert 0 < after["latency_s"]["p50"] <= after["latency_s"]["p99"] <= after["latency_s"]["max"]
    assert f"{after['requests']} requests, {after['answered']} answered" in describe(after)
    assert json.loads(json.dumps(dict(after))) == after


def test_no_shared_memory_is_used_that_could_be_left_behind(server, request_of_four):
    ServedRenderer(server.address)(request_of_four)
    maps = Path(f"/proc/{server.pid}/maps")
    if not maps.exists():
        pytest.skip("only Linux says what a process maps")
    assert "/dev/shm" not in maps.read_text()


def test_a_wrong_key_is_refused(server, tmp_path):
    wrong = Place(tmp_path / "wrong")
    wrong.prepare()
    wrong.socket.symlink_to(Place(server.address).socket)
    refused = count(server, "refused")
    with pytest.raises(LesionAugError, match="Expected the key of the render server"):
        connect(wrong, 30)
    eventually(lambda: count(server, "refused") == refused + 1)


def test_folder_and_key_are_for_the_owner_alone(server, tmp_path):
    place = Place(server.address)
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert place.key.stat().st_mode & 0o777 == 0o600
    assert len(place.key.read_bytes()) == 32
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(LesionAugError, match="Expected a folder that only you can enter"):
        Place(tmp_path / "open").prepare()
    with pytest.raises(LesionAugError, match="choose a shorter folder"):
        Place(tmp_path / ("x" * 100)).prepare()


def test_strangers_and_nonsense_keep_nobody_else_waiting(server, here, request_of_four):
    place = Place(server.address)
    with socket.socket(socket.AF_UNIX) as silent, connect(place, 30) as talker:
        silent.connect(str(place.socket))  # says nothing
        talker.send_bytes(b"nonsense")
        assert decode(talker.recv_bytes()).fields["message"].startswith("Expected a message of lesionaug")
        talker.send_bytes(encode("dance"))
        assert "got 'dance'" in decode(talker.recv_bytes()).fields["message"]
        assert_same_lesions(ServedRenderer(server.address)(request_of_four), here(request_of_four))


def late_twice(count):
    for _ in range(2):
        count.add_late(Patience("skip", 2))


def test_lateness_is_counted_and_said_once_with_numbers():
    count = LateCount(answered=6)
    with pytest.warns(LesionAugWarning, match="1 of 7 requests of this process got no answer .* within 2 s") as warned:
        late_twice(count)
    assert len(warned) == 1
    assert count.late == 2


@pytest.mark.parametrize("patience", [{"on_late": "cry"}, {"deadline_s": 0}, {"deadline_s": float("nan")}])
def test_a_patience_that_cannot_be_is_refused(patience):
    with pytest.raises(LesionAugError, match="Expected"):
        ServedRenderer("anywhere", **patience)


def test_where_no_server_is_nobody_waits(tmp_path, request_of_four):
    with pytest.raises(LesionAugError, match="start one with lesionaug serve"):
        ServedRenderer(str(tmp_path / "nothing"))(request_of_four)
    empty = Place(tmp_path / "empty").prepare()
    late_before = late.COUNT.late
    with pytest.raises(LateRenderError, match="got none; start one with lesionaug serve"):
        ServedRenderer(str(empty.folder))(request_of_four)
    assert late.COUNT.late == late_before + 1
    assert pool.take(str(empty.folder)) is None
