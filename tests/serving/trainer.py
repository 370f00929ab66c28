"""A trainer with a server of its own and one that its loader worker wants; the test kills it."""

import json
import multiprocessing
import os
import sys
import time

from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.recipe import Batching, Recipe
from lesionaug.serving.starting import RenderServer, find_or_start

FAULTY = Recipe("faulty_renderers:faulty_models", {"model": "parametric"})


def worker(sender):
    address = find_or_start(FAULTY, Batching(max_batch=2))
    sender.send((address, ServedRenderer(address).status()["pid"]))


def main():
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=worker, args=(sender,), daemon=True)
    process.start()
    with RenderServer(FAULTY) as server:
        found, found_pid = receiver.recv()
        process.join()
        report = {"own": server.address, "found": found, "pids": [server.pid, found_pid], "pid": os.getpid()}
        print(json.dumps(report), flush=True)
        time.sleep(600)


if __name__ == "__main__":
    sys.exit(main())
