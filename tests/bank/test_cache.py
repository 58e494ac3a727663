"""The simulated bank lies in the user's cache folder, never beside the code."""

from __future__ import annotations

import pytest

from synthlib import bank, runs


def test_simulated_donors_lie_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("synthlib.bank.building.SIMULATED_SUBJECTS", 1)
    monkeypatch.setattr("synthlib.bank.building.SIMULATED_PIXEL_MM", 4.0)
    monkeypatch.setitem(bank.building.SIMULATED_LEVELS_MM, "axial", (0.0, 10.0))
    bank.open_bank("simulated", n_coils=2)
    assert len(list((tmp_path / "cache" / "synthlib").glob("bank-*/*.h5"))) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert runs.cache_folder() == tmp_path / "home" / ".cache" / "synthlib"


def test_a_cache_that_cannot_be_made_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match="Set XDG_CACHE_HOME to another folder") as caught:
        bank.open_bank("simulated", n_coils=2)
    assert str(tmp_path) not in str(caught.value)
