"""Signals are heard where Python lets them be."""

import signal
from concurrent.futures import ThreadPoolExecutor

from benchmarks.config import signals


def test_a_command_in_another_thread_leaves_them_alone():
    """As a notebook's server or a test runner may call one; only the main thread hears signals."""

    def handler():
        with signals.heard():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() is signal.getsignal(signal.SIGTERM)
    assert handler() is signals.stop
