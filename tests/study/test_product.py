"""The product as training data: units, noise, whose coils, whose scan."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from synthlib import arrays, bank, datasets, pairs, runs, scanner
from synthlib.phase import generator, pix2pix
from synthlib.study import product

SETTINGS = scanner.ScanSettings(
    n_subjects=2, n_slices=2, matrix=(94, 81), contrasts=("AXT1", "AXT2")
)
HOW = {"weights": "sinusoidal", "n_coils": 5, "seed": 11}


def prepared(folder, settings=SETTINGS):
    return pairs.prepare(
        datasets.raw_volumes("simulated", n_coils=5, simulate=settings), folder / "prepared"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("product")


@pytest.fixture(scope="module")
def scans(folder):
    """Not in the order of the patients."""
    scans = prepared(folder)
    return [scans[2], scans[1], scans[0]]


@pytest.fixture(scope="module")
def make(folder, scans):
    def run(**how):
        return product.product_scans(scans, folder / "product", **HOW | how)

    return run


def rms(values):
    return float(values.square().mean().sqrt())


@pytest.mark.parametrize("coils", product.COILS)
def test_without_noise_the_coils_see_the_magnitude_in_its_own_units(make, scans, coils):
    for scan, made in zip(scans, make(coils=coils, noise="none"), strict=True):
        for index in range(scan.n_slices):
            seen = arrays.rss(made.raw.coil_images(index))
            torch.testing.assert_close(seen, scan.pair(index).magnitude, rtol=0.01, atol=1e-5)


@pytest.mark.parametrize("coils", product.COILS)
def test_air_gets_the_noise_that_the_simulated_receivers_had(make, scans, coils):
    for scan, made in zip(scans, make(coils=coils), strict=True):
        covariance = datasets.truth(scan.raw)["noise_covariance"]  # of complex noise
        expected = float(covariance.diagonal().real.sum().sqrt())
        corner = arrays.rss(made.raw.coil_images(0))[:8, :8]
        assert rms(corner) == pytest.approx(expected, rel=0.2)


def test_the_snr_asked_for_is_that_of_bright_tissue(make, scans):
    """Noise along the signal: what the image had (known to the scanner) and what was added."""
    for scan, silent, loud in zip(scans, make(noise="none"), make(noise=9.0), strict=True):
        pair = scan.pair(1)
        head = bank.outline(pair.magnitude[None]).mask[0]
        bright = head & (pair.magnitude > 0.7 * pair.magnitude[head].mean())
        added = (loud.pair(1).magnitude - silent.pair(1).magnitude)[bright]
        had = datasets.truth(scan.raw)["noise_covariance"].diagonal().real.mean() / 2
        std = float((added.var() + had).sqrt())
        assert float(pair.magnitude[head].mean()) / std == pytest.approx(9, rel=0.2)


def test_every_product_belongs_to_its_scan_and_tells_no_name(make, scans, folder):
    made = make(noise="none")
    assert [volume.raw.patient_id for volume in made] == [scan.raw.patient_id for scan in scans]
    assert [volume.raw.contrast for volume in made] == [scan.raw.contrast for scan in scans]
    assert len({volume.name for volume in [*made, *scans]}) == 6
    patients = {scan.raw.patient_id for scan in scans}
    files = [path for path in (folder / "product").rglob("*") if path.is_file()]
    raw = [path for path in files if path.parent.name in ("multicoil", "anat", "parts")]
    assert len(raw) >= 6
    for path in raw:
        content = path.read_bytes()
        assert not any(name.encode() in content or name in str(path) for name in patients)
    # one patient, one pseudonym
    folders = {volume.raw.source.split("/p-")[1][:10] for volume in made}
    assert len(folders) == len(patients)


def test_phase_is_the_same_whatever_the_coils_and_the_noise(make, scans):
    """Where both see signal, up to the gauge of each one's maps, which is smooth."""
    one, other = make(coils="own", noise="none"), make(noise="none")
    for first, second in zip(one, other, strict=True):
        image, twin = first.pair(1), second.pair(1)
        steps = []
        apart = torch.polar(image.magnitude * image.head, image.phase - twin.phase)
        for axis in (0, 1):
            n = apart.shape[axis] - 1
            turn = apart.narrow(axis, 1, n) * apart.narrow(axis, 0, n).conj()
            steps.append(turn.angle().abs()[turn.abs() > 0])
        assert float(torch.cat(steps).quantile(0.9)) < 0.1
    assert not torch.equal(one[0].pair(1).phase, make(noise="none", seed=12)[0].pair(1).phase)


def test_what_is_there_is_not_made_again(make):
    def files():
        return {v.raw.source: runs.sha256(v.raw.source) for v in first} | {
            str(v.path): v.path.stat().st_mtime_ns for v in first
        }

    first = make()
    before = files()
    assert [v.raw.source for v in make()] == [v.raw.source for v in first]
    assert files() == before


def test_donors_are_other_heads_than_the_study(make, scans, folder):
    names = {json.loads(v.raw.attributes["record"])["donor"]["name"] for v in make()}
    assert all(name.startswith("simulated-05coil") for name in names)
    # slices at the height of the scan's, not spread over the donor's whole head
    record = json.loads(make()[0].raw.attributes["record"])["donor"]
    donors = {donor.name: donor for donor in bank.open_bank("simulated", n_coils=5).donors}
    low, high = (donors[record["name"]].levels_mm[index] for index in record["slices"])
    assert high - low == pytest.approx(40, abs=10)  # of ScanSettings: -14 to 26 mm
    same_heads = dataclasses.replace(SETTINGS, n_subjects=1, seed=bank.SIMULATED_SEED)
    same = prepared(folder, dataclasses.replace(same_heads, matrix=(48, 40), contrasts=("AXT2",)))
    with pytest.raises(ValueError, match="the study's own patients"):
        product.product_scans(same, folder / "same", **HOW)


def test_a_trained_generator_writes_the_phase(make, folder):
    architecture = generator.Architecture("vector", ngf=4, depth=5)
    with runs.seeded(0, "weights"):
        network = architecture.build()
        pix2pix.initialise(network)
    path = folder / "generator.safetensors"
    generator.save(path, network, architecture, {})
    volume = make(weights=path, noise="none")[1]
    record = json.loads(volume.raw.attributes["record"])
    assert record["generator"]["weights_sha256"] == runs.sha256(path)
    assert volume.raw.source != make(noise="none")[1].raw.source


def test_errors_say_what_to_do(make, scans, folder):
    with pytest.raises(ValueError, match="choose one of donor, own"):
        make(coils="mine")
    with pytest.raises(FileNotFoundError, match="Train one with"):
        make(weights=str(folder / "none.safetensors"))
    raw = dataclasses.replace(scans[0].raw, contrast="SAGT1")
    with pytest.raises(ValueError, match="expected axial scans"):
        product.product_scans([dataclasses.replace(scans[0], raw=raw)], folder / "sag", **HOW)
