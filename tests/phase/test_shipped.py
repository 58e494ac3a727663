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
        smooth.kind(name, gradient_echo=echo, te_ms=te_ms)
        for name in flow.conditions.ORIENTATIONS
        for echo, te_ms in ((False, 100.0), (True, 4.6), (True, 20.0))
    ]
    assert set(writer.smooth) == set(kinds)
    assert not generator.demonstration(writer.record)
    assert writer.familiar.limit > 1  # of the heads kept back, half lie within 1
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


def test_loading_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    flow.load(shipped.path_of(shipped.DEFAULT))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_card_says_what_the_record_says():
    recipe = phase.load(shipped.DEFAULT).record["parameters"]["recipe"]
    card = shipped.path_of(shipped.DEFAULT).with_suffix(".md").read_text()
    n_subjects = recipe["last"] - recipe["first"] + 1
    for fact in (f"{n_subjects} subjects", f"seed {recipe['seed']}"):
        assert fact in card
    for stage in ("coarse", "fine"):
        assert f"{recipe[stage]['steps']} steps" in card


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
