"""Whatever is killed or stopped, in mid-request too: nobody hangs, nobody gets a wrong answer, and nothing remains."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from faulty_renderers import BREAKS_THE_GPU, SLOW, with_seeds
from renderers import assert_same_lesions
from waiting import END_S, count, eventually

from lesionaug.errors import LesionAugError
from lesionaug.serving import pool
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.errors import LateRenderError, RemoteRenderError
from lesionaug.serving.owner import Owner, exists
from lesionaug.serving.place import Place
from lesionaug.serving.recipe import Batching, Recipe, Start
from lesionaug.serving.starting import RenderServer, find_or_start, prepared


class Asking(Thread):
    """A request that is under way."""

    def __init__(self, server, request, **patience):
        super().__init__(daemon=True)
        self.renderer, self.asked, self.outcome = ServedRenderer(server.address, **patience), request, None
        before = count(server, "requests")
        self.start()
        eventually(lambda: count(server, "requests") > before)

    def run(self):
        try:
            self.outcome = self.renderer(self.asked)
        except Exception as error:
            self.outcome = error

    def result(self):
        self.join(END_S)
        assert not self.is_alive(), "it hangs"
        return self.outcome


@contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def ask(address, request):
    ServedRenderer(address)(request)


def test_a_killed_server_is_started_again_and_the_answer_is_right(server, here, request_of_four):
    slow, pid = with_seeds(request_of_four, SLOW, 1, SLOW), server.pid
    asking = Asking(server, slow)
    os.kill(pid, signal.SIGKILL)
    assert_same_lesions(asking.result(), here(slow))
    assert server.pid != pid


def test_without_leave_to_start_it_a_killed_server_is_an_error_at_once(server, here, request_of_four):
    place = Place(server.address)
    recipe = place.start.read_bytes()
    asking = Asking(server, with_seeds(request_of_four, *[SLOW] * 4))
    place.start.unlink()
    try:
        os.kill(server.pid, signal.SIGKILL)
        assert isinstance(asking.result(), LateRenderError)
        with pytest.raises(LateRenderError, match="got none"):
            ServedRenderer(server.address)(request_of_four)
    finally:
        place.start.write_bytes(recipe)
    assert_same_lesions(ServedRenderer(server.address)(request_of_four), here(request_of_four))


def test_a_late_answer_is_nobody_elses(server, here, request_of_four):
    abandoned = count(server, "abandoned")
    hasty = ServedRenderer(server.address, on_late="error", deadline_s=0.2)
    with pytest.raises(LateRenderError, match=r"within 0\.2 s, got none"):
        hasty(with_seeds(request_of_four, SLOW, SLOW))
    assert_same_lesions(ServedRenderer(server.address)(request_of_four), here(request_of_four))
    eventually(lambda: count(server, "abandoned") == abandoned + 1)


@pytest.mark.slow
def test_who_waits_waits_while_something_gets_done(server, here, request_of_four):
    slow = with_seeds(request_of_four, *[SLOW] * 12)  # three batches of 1.6 s
    with pytest.raises(LateRenderError):
        ServedRenderer(server.address, on_late="error", deadline_s=3.5)(slow)
    assert_same_lesions(ServedRenderer(server.address, on_late="wait", deadline_s=3.5)(slow), here(slow))


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("on_late", ["error", "wait"])
def test_a_server_that_is_stopped_is_late(server, here, request_of_four, connected, on_late, monkeypatch):
    monkeypatch.setattr("lesionaug.serving.client.START_S", 0.5)
    renderer = ServedRenderer(server.address, on_late, deadline_s=0.5)
    count(server, "requests") if connected else pool.close_all()
    with stopped(server.pid), pytest.raises(LateRenderError, match="Expected an answer"):
        renderer(request_of_four)
    assert_same_lesions(ServedRenderer(server.address)(request_of_four), here(request_of_four))


def test_a_killed_worker_disturbs_nobody(server, here, request_of_four):
    pid, abandoned, requests = server.pid, count(server, "abandoned"), count(server, "requests")
    slow = with_seeds(request_of_four, *[SLOW] * 8)
    worker = multiprocessing.get_context("fork").Process(target=ask, args=(server.address, slow))
    worker.start()
    eventually(lambda: count(server, "requests") > requests)
    worker.kill()
    worker.join(END_S)
    assert_same_lesions(ServedRenderer(server.address)(request_of_four), here(request_of_four))
    eventually(lambda: count(server, "abandoned") == abandoned + 1)
    eventually(lambda: count(server, "waiting") == 0)
    assert server.pid == pid


def test_a_broken_gpu_takes_a_new_server(server, here, request_of_four):
    pid = server.pid
    with pytest.raises(RemoteRenderError, match="CUDA error"):
        ServedRenderer(server.address)(with_seeds(request_of_four, BREAKS_THE_GPU))
    eventually(lambda: not exists(pid) or not Place(server.address).occupied())
    assert_same_lesions(ServedRenderer(server.address)(request_of_four), here(request_of_four))
    assert server.pid != pid


def test_a_killed_trainer_leaves_no_server_and_no_file(runtime):
    script = Path(__file__).with_name("trainer.py")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as trainer:
        report = json.loads(trainer.stdout.readline())
        owners = [Owner(pid) for pid in report["pids"]]
        assert all(owner.alive() for owner in owners)
        assert len({report["own"], report["found"]}) == 2
        trainer.kill()
    eventually(lambda: not any(owner.alive() for owner in owners))
    eventually(lambda: not Path(report["own"]).exists() and not Path(report["found"]).exists())


def test_a_server_that_cannot_start_says_why(runtime):
    address = find_or_start(Recipe("faulty_renderers:no_such_factory"))
    with pytest.raises(LesionAugError, match=r"Expected a render server to start(.|\n)*no_such_factory"):
        ServedRenderer(address).status()
    Place(address).remove()


@pytest.mark.slow
def test_the_end_of_a_server_is_the_end_of_its_requests(runtime, request_of_four):
    with RenderServer(Recipe("faulty_renderers:faulty_models", {"model": "parametric"}), Batching(max_batch=1)) as own:
        asking = Asking(own, with_seeds(request_of_four, *[SLOW] * 30))
        folder = Path(own.address)
        with pytest.raises(LesionAugError, match="Expected no server of these models"):
            RenderServer(own.start.recipe, own.start.batching).__enter__()
    assert isinstance(asking.result(), LesionAugError)
    assert not folder.exists()
    with pytest.raises(LesionAugError, match="Expected a server that runs"):
        _ = own.address


def test_places_of_dead_owners_are_tidied_away(runtime):
    with subprocess.Popen(["true"]) as ended:
        pass
    left = Place(runtime / f"lesionaug-{os.geteuid()}" / f"{ended.pid}-0123456789ab")
    left.prepare()
    place = prepared(Start(Recipe("a:b"), owner=os.getpid()))
    assert not left.folder.exists()
    place.remove()
