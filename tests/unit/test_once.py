"""What is done once: threads take turns faster meanwhile, and a fork in the middle of it harms neither side."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from claude_monitoring import _once
from claude_monitoring._once import once

HOSTS_S = 0.004

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(autouse=True)
def hosts_interval() -> Iterator[None]:
    """The host's own, which is not Python's default."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(HOSTS_S)
    yield
    sys.setswitchinterval(before)


def in_a_child(check: Callable[[], bool]) -> bool:
    """What ``check`` says in a forked child; ``False`` if it raises or takes a minute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from Python 3.12 on
        pid = os.fork()
    if not pid:
        threading.Timer(60, os._exit, [1]).start()
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def hosts_turns_are_back() -> bool:
    return sys.getswitchinterval() == pytest.approx(HOSTS_S)


def test_threads_take_turns_faster_until_all_of_it_is_done() -> None:
    with once:
        with once:
            assert sys.getswitchinterval() < HOSTS_S
        assert sys.getswitchinterval() < HOSTS_S
    assert hosts_turns_are_back()


def test_a_host_whose_threads_take_turns_faster_already_keeps_them() -> None:
    sys.setswitchinterval(1e-5)
    with once:
        assert sys.getswitchinterval() == pytest.approx(1e-5)
    assert sys.getswitchinterval() == pytest.approx(1e-5)


def test_an_interval_that_the_host_sets_meanwhile_stays() -> None:
    with once:
        sys.setswitchinterval(0.003)
    assert sys.getswitchinterval() == pytest.approx(0.003)


@needs_fork
def test_a_fork_in_the_middle_of_it_by_the_same_thread_leaves_both_sides_able_to_end_it() -> None:
    def ends_it() -> bool:
        once.__exit__(None, None, None)
        with once:
            return hosts_turns_are_back() is False

    with once:
        assert in_a_child(ends_it)
    assert hosts_turns_are_back()


@needs_fork
def test_a_child_forked_while_another_thread_is_in_the_middle_of_it_has_the_hosts_turns_and_begins_afresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_once, "_FORK_WAITS_S", 0.05)
    inside, go_on = threading.Event(), threading.Event()

    def stay() -> None:
        with once:
            inside.set()
            go_on.wait(60)

    def begins_afresh() -> bool:
        was_back = hosts_turns_are_back()
        with once:
            return was_back and not hosts_turns_are_back()

    other = threading.Thread(target=stay)
    other.start()
    try:
        assert inside.wait(60)
        assert in_a_child(begins_afresh)
    finally:
        go_on.set()
        other.join()
    assert hosts_turns_are_back()
