"""The phase that synthesize writes where nobody names a generator, and where somebody does."""

from __future__ import annotations

import dataclasses
import json
import math

import h5py
import pytest
import torch

from synthlib import arrays, conversion, runs
from synthlib.conversion.phase import conditions_of, write_phase
from synthlib.phase import flow, generator, pix2pix, shipped
from synthlib.records import ImageVolume

SHAPE, SPACING_MM = (57, 46), (4.1, 3.9)


def volume(n_slices=5, **changes):
    """Ellipsoids of two tissues, the same in every slice but for their noise."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    head = ((y / 0.85) ** 2 + (x / 0.75) ** 2 < 1).float()
    core = ((y / 0.4) ** 2 + (x / 0.3) ** 2 < 1).float()
    image = 100 * head + 60 * core
    rng = torch.Generator().manual_seed(4)
    magnitude = (image + 2 * torch.randn(n_slices, *SHAPE, generator=rng)).abs()
    usual = ImageVolume(
        "v", "p", "AXT2", magnitude, SPACING_MM, orientation="axial", field_t=3.0,
        facts={"te_ms": 100.0, "flip_deg": 90.0},
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


def phase_of(of, settings):
    return torch.stack([write_phase(of, "pixels", i, settings) for i in range(of.n_slices)])


def test_without_a_word_the_shipped_flow_writes_phase(make):
    result = make(generator=conversion.Settings().generator, noise="none")
    record = json.loads(h5py.File(sorted(job.target for job in result.jobs)[0]).attrs["record"])
    assert record["phase"] == f"written: {shipped.DEFAULT}"
    assert record["generator"]["weights_sha256"] == shipped.SHA256[shipped.DEFAULT]
    assert len(record["generator"]["stages"]) == 2
    assert "demonstration" not in record["generator"]


@pytest.mark.parametrize("name", [shipped.DEFAULT, "polynomial"])
def test_slices_of_a_series_share_their_smooth_phase(name):
    """Along z a line fits the phase, where the magnitude is the same in every slice."""
    settings = conversion.Settings(generator=name, seed=3)
    of = volume()
    phase = phase_of(of, settings)
    inside = of.magnitude.min(0).values > 50
    pairs = torch.polar(torch.ones_like(phase), phase)
    bend = (pairs[2:] * pairs[:-2] * pairs[1:-1].conj().square()).angle()[:, inside]
    steps = (pairs[1:] * pairs[:-1].conj()).angle()[:, inside]
    # each slice by itself would have 1.8 rad; the fine noise of a flow is each slice's own
    most = 1e-3 if name == "polynomial" else 0.2
    assert float(bend.square().mean().sqrt()) < most
    assert float(steps.square().mean().sqrt()) > 0.01
    other = phase_of(of, dataclasses.replace(settings, seed=4))
    assert float(arrays.wrap(phase - other).square().mean().sqrt()) > 0.5


def test_a_series_upside_down_gets_the_same_phase_upside_down():
    settings = conversion.Settings(seed=3)
    usual = phase_of(volume(), settings)
    turned = volume(magnitude=volume().magnitude.flip(1), upside_down=True)
    assert torch.equal(phase_of(turned, settings).flip(1), usual)


def test_a_header_tells_the_flow_what_it_knows():
    known = conditions_of(volume())
    assert known == flow.Conditions("T2", "axial", False, 100.0, 3.0)
    short = {"te_ms": 4.0, "flip_deg": 8.0}
    sagittal = volume(contrast="SAGT1", orientation="sagittal", facts=short)
    assert conditions_of(sagittal) == flow.Conditions("T1GRE", "sagittal", True, 4.0, 3.0)
    prepared = volume(contrast="AXT1", facts={**short, "ti_ms": 900.0})
    assert conditions_of(prepared).contrast == "MPRAGE"
    silent = volume(contrast="unknown", orientation="unknown", facts={}, field_t=math.nan)
    assert not conditions_of(silent).vector().any()


def test_a_users_flow_is_taken_for_a_flow(make, place):
    path = place / "mine.safetensors"
    flow.save(path, shipped.load(shipped.DEFAULT))
    result = make(generator=str(path), noise="none")
    record = json.loads(h5py.File(sorted(job.target for job in result.jobs)[0]).attrs["record"])
    assert record["phase"] == "written: flow"
    assert record["generator"]["weights_sha256"] == runs.sha256(path)


def test_weights_of_a_demonstration_are_said_to_be_such(make, place):
    architecture = generator.Architecture("scalar", ngf=4, depth=5)
    network = architecture.build()
    pix2pix.initialise(network)
    path = place / "demo.safetensors"
    facts = {"inputs": {"a": "1", "b": "2"}}
    generator.save(path, network, architecture, facts)
    with pytest.warns(UserWarning, match="learned from 2 scans: they show how the chain works"):
        result = make(generator=str(path), noise="none")
    record = json.loads(h5py.File(sorted(job.target for job in result.jobs)[0]).attrs["record"])
    assert "learned from 2 scans" in record["generator"]["demonstration"]
    many = {"inputs": {str(i): "x" for i in range(generator.FEW_SCANS)}}
    assert generator.demonstration(many) == "" and generator.demonstration({}) == ""
