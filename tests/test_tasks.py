"""Pieces of work: in order, in this process or in others, and what is said meanwhile."""

import gc
import math
import os
import subprocess
import sys
import time

import pytest
import torch

from synthlib import tasks


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Dask's scratch files go there."""
    monkeypatch.setattr(tasks.runs, "project_root", lambda: tmp_path)


def test_results_keep_the_order_of_the_items():
    assert tasks.run_all(math.sqrt, [9, 1, 4], label="roots") == [3, 1, 2]
    assert tasks.run_all(math.sqrt, [], label="roots", workers=2) == []


def test_two_processes_share_the_work_and_its_order_stays(own_folder):
    # eval travels to other processes; the first item ends last
    item = "(__import__('time').sleep({0}), {1}, __import__('os').getpid(), {2})[1:]"
    threads = "__import__('os').environ['OMP_NUM_THREADS']"
    items = [item.format(s, n, threads) for n, s in enumerate((1.0, 0.3, 0.0, 0.0, 0.0))]
    results = tasks.run_all(eval, items, label="pieces", workers=2)
    numbers, processes, shares = zip(*results, strict=True)
    assert numbers == (0, 1, 2, 3, 4)
    assert len(set(processes)) == 2
    assert os.getpid() not in processes
    assert set(shares) == {str(max(1, (os.cpu_count() or 1) // 2))}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_one_item_surfaces_with_its_message(own_folder, workers):
    with pytest.raises(ValueError, match=r"invalid literal for int.*'three'"):
        tasks.run_all(int, ["1", "2", "three", "4"], label="numbers", workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_can_be_handled_and_the_other_items_go_on(own_folder, workers):
    results = tasks.run_all(
        int,
        ["1", "two", "3"],
        label="numbers",
        workers=workers,
        on_error=lambda item, error: (item, type(error)),
    )
    assert results == [1, ("two", ValueError), 3]


def test_an_item_that_kills_its_process_again_and_again_can_be_handled(own_folder):
    # the product has long been fetched when its neighbour dies: Dask may blame who is there
    dies = "(__import__('time').sleep(1), __import__('os').kill(__import__('os').getpid(), 9))"
    items = [dies, "2 * 3"]
    results = tasks.run_all(
        eval, items, label="pieces", workers=2, on_error=lambda item, error: type(error).__name__
    )
    assert results == ["KilledWorker", 6]


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_spread_work_has_one_thread_each_and_keeps_its_order(three_threads):
    def square(number):
        time.sleep(0.002 * (number % 3))  # the first are not always the first to end
        return number**2, torch.get_num_threads()

    results = list(tasks.spread(square, range(11)))
    assert results == [(number**2, 1) for number in range(11)]
    assert torch.get_num_threads() == 3


def test_spread_work_waits_for_who_takes_it(three_threads):
    begun = []
    results = tasks.spread(begun.append, range(50), at_most=2)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 5  # four wait, one was taken
    results.close()
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("at_most", [1, 3])
def test_an_error_in_spread_work_comes_out_and_the_threads_are_given_back(three_threads, at_most):
    with pytest.raises(ValueError, match="invalid literal"):
        list(tasks.spread(int, ["1", "two", "3"], at_most=at_most))
    assert torch.get_num_threads() == 3


def test_time_left_is_that_of_this_runs_pieces():
    progress = tasks.Progress("scans", 10, done=4)  # an earlier run had finished four
    assert progress.text(5.0) == "scans 4/10"
    progress.step()
    progress.step()
    assert progress.text(20.0) == "scans 6/10, 40 s left"
    for _ in range(4):
        progress.step()
    assert progress.text(61.0) == "scans 10/10, took 1 min 01 s"


def test_progress_goes_to_the_file_that_the_environment_names(tmp_path, monkeypatch):
    path = tmp_path / "progress"
    monkeypatch.setenv(tasks.PROGRESS_FILE, str(path))
    progress = tasks.Progress("scans", 2)
    progress.step("sub-001")
    progress.step("sub-002")
    assert path.read_text() == "scans 2/2, took 0 s | sub-002\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.5, "0 s"),
        (48.2, "48 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (18600, "5 h 10 min"),
    ],
)
def test_durations_read_well(seconds, text):
    assert tasks.duration(seconds) == text


def test_a_log_gets_a_line_every_half_minute_and_short_work_none(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.delenv(tasks.PROGRESS_FILE, raising=False)
    monkeypatch.setattr(tasks.time, "monotonic", lambda: now[0])
    progress = tasks.Progress("scans", 10)
    for _ in range(10):
        now[0] += 10.0
        progress.step()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "scans 3/10, 1 min 10 s left", "scans 6/10, 40 s left", "scans 9/10, 10 s left",
        "scans 10/10, took 1 min 40 s",
    ]  # fmt: skip
    short = tasks.Progress("scans", 4)
    for _ in range(4):
        now[0] += 5.0
        short.step()
    assert capsys.readouterr().err == ""


def test_a_piece_that_takes_long_is_not_silent(monkeypatch, capsys):
    monkeypatch.delenv(tasks.PROGRESS_FILE, raising=False)
    monkeypatch.setattr(tasks, "LINE_EVERY_S", 0.05)
    tasks.run_all(time.sleep, [0.3, 0.0], label="donors")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3 and lines[0] == "donors 0/2, 0 s so far"
    assert lines[-1].startswith("donors 2/2, took")
    time.sleep(0.2)
    assert capsys.readouterr().err == ""  # it ended with the work


def test_a_progress_that_was_given_up_falls_silent(monkeypatch, capsys):
    monkeypatch.delenv(tasks.PROGRESS_FILE, raising=False)
    monkeypatch.setattr(tasks, "LINE_EVERY_S", 0.05)
    with pytest.raises(ValueError, match="three"):
        tasks.run_all(int, ["1", "three"], label="numbers")
    gc.collect()
    time.sleep(0.1)
    capsys.readouterr()
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_after_an_error_no_line_comes_any_more(monkeypatch, capsys):
    monkeypatch.setattr(tasks, "LINE_EVERY_S", 0.05)

    def fails(item):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught:
        tasks.run_all(fails, [1, 2, 3], label="work")
    assert caught.tb is not None  # holds the frames, and with them the progress
    capsys.readouterr()
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; glibc's allocator")
def test_memory_that_was_freed_goes_back_to_the_system():
    """Two hundred arrays of 1 MB below one that stays, with the allocator's settings of workers."""
    code = """if True:
        import pathlib
        import numpy as np
        from synthlib import tasks

        def held_mb():
            return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

        arrays = [np.ones(2**17) for _ in range(200)]
        kept = arrays.pop()
        arrays.clear()
        before = held_mb()
        tasks.give_back_memory()
        print(before - held_mb())
    """
    never = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | never, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert float(done.stdout) > 150
