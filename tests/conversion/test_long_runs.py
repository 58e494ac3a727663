"""Runs that are killed, and runs on a Dask scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from dask.distributed import LocalCluster

from synthlib import bank, conversion, runs, synthesis
from synthlib.conversion import coils

TYPED = "import sys; from synthlib import cli; sys.exit(cli.main())"


def kspaces(folder):
    found = {}
    for path in sorted((folder / conversion.RAW).glob("*.h5")):
        with h5py.File(path) as file:
            found[path.name] = file["kspace"][()]
    return found


def test_a_run_killed_within_a_series_goes_on_and_leaves_nothing_half_written(make, place):
    expected = kspaces(make("whole") and place / "whole")
    command = [sys.executable, "-c", TYPED, "synthesize", "archive", "--out", "out"]
    command += ["--generator", "sinusoidal", "--coils", "5", "--salt-file", "salt"]
    environment = {**os.environ, "PYTHONPATH": str(runs.project_root())}
    raw = place / "out" / conversion.RAW
    with subprocess.Popen(command, cwd=place, env=environment) as process:
        while process.poll() is None and not (raw.is_dir() and list(raw.iterdir())):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL  # it had not ended before
    assert any(path.name.startswith(".part-") for path in raw.iterdir())
    result = make("out")
    assert result.count(conversion.ASIDE) == 0
    assert {path.name for path in raw.iterdir()} == set(expected)
    for name, kspace in kspaces(place / "out").items():
        np.testing.assert_allclose(kspace, expected[name], rtol=1e-4, atol=1e-3)


def test_ctrl_c_waits_for_slices_and_not_for_series(make, place, monkeypatch):
    begun, real = [], synthesis.Receiver.slice

    def slow(receiver, *arguments, **how):
        begun.append(how["index"])
        if len(begun) == 2:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.2)
        return real(receiver, *arguments, **how)

    monkeypatch.setattr(synthesis.Receiver, "slice", slow)
    with pytest.raises(KeyboardInterrupt):
        make("out")
    assert len(begun) <= 4  # of 6
    folder = place / "out" / conversion.RAW
    assert not folder.exists() or not list(folder.iterdir())
    monkeypatch.setattr(synthesis.Receiver, "slice", real)
    assert make("out").count(conversion.MADE) == 2


def test_a_dask_scheduler_makes_the_same_raw_data(make, place):
    expected = kspaces(make("here") and place / "here")
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with cluster:
        result = make("there", scheduler=cluster.scheduler_address)
    assert result.count(conversion.MADE) == 2
    found = kspaces(place / "there")
    assert set(found) == set(expected)
    for name, kspace in found.items():
        np.testing.assert_allclose(kspace, expected[name], rtol=1e-4, atol=1e-3)


def test_threads_that_need_the_same_simulated_donors_make_them_once(head, monkeypatch):
    made = []

    def slow(*_, **how):
        made.append(how["n_coils"])
        time.sleep(0.2)
        return bank.Bank(())

    monkeypatch.setattr(bank, "open_bank", slow)
    coils.opened.cache_clear()
    settings = conversion.Settings(generator="zero", n_coils=5)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: coils.donors_for(settings, head), range(3)))
    coils.opened.cache_clear()
    assert made == [5]
