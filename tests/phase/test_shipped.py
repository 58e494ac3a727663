"""Weights that come with the package: by name, verified, small, with their card."""

import math

import pytest
import torch

from synthlib import cli, conversion, phase, runs
from synthlib.phase import flow, generator, shipped, smooth

MOST_BYTES = 10e6


def disc():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 61), torch.linspace(-1, 1, 48), indexing="ij")
    return 100 * (y**2 + x**2 < 0.7).float()


def test_shipped_weights_are_small_and_have_their_card():
    names = {path.name for path in shipped.FOLDER.iterdir()}
    assert names == {f"{name}{end}" for name in shipped.SHA256 for end in (".safetensors", ".md")}
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < MOST_BYTES
    for name, expected in shipped.SHA256.items():
        assert runs.sha256(shipped.path_of(name)) == expected


def test_weights_are_loaded_by_name_and_write_phase():
    writer = phase.load("flow-head-v1")
    assert isinstance(writer, flow.PhaseFlow)
    kinds = [
        smooth.kind(name, gradient_echo=echo)
        for name in flow.conditions.ORIENTATIONS
        for echo in (False, True)
    ]
    assert set(writer.smooth) == set(kinds)
    assert not generator.demonstration(writer.record)
    single = writer(disc(), seed=1)
    assert single.shape == (61, 48) and single.abs().max() <= math.pi
    scan = writer(disc().expand(3, -1, -1), seed=1, spacing_mm=(3.0, 4.0))
    assert scan.shape == (3, 61, 48)
    assert torch.equal(single, writer(disc(), seed=1))
    assert not torch.equal(single, writer(disc(), seed=2))
    with pytest.raises(ValueError, match=r"shape \(48,\); expected a slice"):
        writer(disc()[0], seed=1)


def test_the_command_lines_default_is_the_librarys():
    settings = conversion.Settings()
    chosen = cli._parser().parse_args(["synthesize", "images", "--out", "raw"])
    assert chosen.generator == shipped.DEFAULT == settings.generator


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    name = shipped.DEFAULT
    data = bytearray(shipped.path_of(name).read_bytes())
    data[-1] ^= 1
    (tmp_path / f"{name}.safetensors").write_bytes(bytes(data))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    shipped._verified.cache_clear()
    try:
        with pytest.raises(ValueError, match="it is damaged or of another version"):
            phase.load(name)
        (tmp_path / f"{name}.safetensors").unlink()
        with pytest.raises(FileNotFoundError, match="Install synthlib again"):
            phase.load(name)
    finally:
        shipped._verified.cache_clear()


def test_what_is_no_name_and_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'flow' are unknown; expected flow-head-v1, or a file"):
        phase.load("flow")
    with pytest.raises(FileNotFoundError, match="is not there"):
        phase.load(tmp_path / "none.safetensors")
