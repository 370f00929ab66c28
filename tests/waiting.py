"""Waiting for what other processes and threads do: nothing is measured by it."""

import time

from lesionaug.serving.client import ServedRenderer

END_S = 120.0  # of tests that would otherwise hang


def eventually(happens):
    """Return as soon as `happens()` is true; fail where it never is."""
    end_s = time.monotonic() + END_S
    while not happens():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.05)


def count(server, what):
    """What the status of a server says; servers count just after they answer."""
    return ServedRenderer(server.address).status()[what]
