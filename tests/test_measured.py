"""Measured scans of three scanners go through every stage, at the size of seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fastmri.data import SliceDataset, subsample, transforms

from synthlib import arrays, formats, metrics, pairs, synthesis
from synthlib.phase import sources, training
from synthlib.recon import grid, networks, samples, sense, unrolled
from synthlib.study import experiments

MEASURED = ["head_axial_t1_8coil", "head_axial_mprage_4coil", "head_axial_16coil_lowres"]


@pytest.fixture(scope="module", params=MEASURED)
def measured(
    request: pytest.FixtureRequest, real: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[pairs.PreparedVolume]]:
    """Five "patients" from one measured scan, told apart by a little added noise."""
    scan = formats.read_raw(real / "multicoil" / f"{request.param}.h5")
    folder = tmp_path_factory.mktemp(request.param)
    kspace = scan.kspace[0][None]
    noise_std = 0.01 * float(kspace.abs().square().mean().sqrt())
    for number in range(5):
        noisy = synthesis.add_noise(kspace, noise_std, torch.Generator().manual_seed(number))
        formats.write_raw(
            folder / "raw" / f"patient{number}.h5",
            noisy,
            contrast=scan.contrast,
            patient_id=f"patient{number}",
            recon_shape=scan.recon_shape,
            spacing_mm=scan.spacing_mm,
        )
    ready = pairs.prepare(formats.find_raw(folder / "raw"), folder / "prepared")
    return folder, ready


def test_pair_and_maps_give_the_measured_coil_images_back(
    measured: tuple[Path, list[pairs.PreparedVolume]],
) -> None:
    volume = measured[1][0]
    pair, maps = volume.pair(0), volume.maps(0)
    coil_images = volume.raw.coil_images(0)
    predicted = arrays.ifft2c(synthesis.multicoil_kspace(pair.magnitude, pair.phase, maps))
    inside = pair.head
    # on the circle, weighted with the signal: the phase of every coil is right, too
    overlap = (predicted.conj() * coil_images)[:, inside].sum()
    norm = predicted[:, inside].norm() * coil_images[:, inside].norm()
    assert float(overlap.real / norm) > 0.98
    combined = (maps.conj() * coil_images).sum(0).angle()
    assert metrics.mean_abs_phase_error(combined, pair.phase, pair.magnitude * inside) < 1e-3


def test_generator_synthesis_and_network_work_on_its_matrix(
    measured: tuple[Path, list[pairs.PreparedVolume]],
) -> None:
    folder, ready = measured
    parts = pairs.split_by_patient(ready, gan_fraction=0.4, seed=1)
    settings = training.GanSettings(ngf=4, ndf=4, depth=5, epochs=1, accelerator="cpu")
    job = training.Job(parts["gan"], [], folder / "gan", settings)
    trained = training.train(job)
    phase = trained(parts["train"][0].pair(0).magnitude, seed=1)
    assert phase.shape == parts["train"][0].pair(0).magnitude.shape

    weights = training.publish(trained, folder, ready[0].raw.n_coils)
    tiny = networks.NetworkSettings(
        network=networks.UNROLLED, cascades=1, chans=4, fine_chans=2, epochs=1, accelerator="cpu"
    )
    study = experiments.Study(parts, weights, tiny, folder / "study", seed=1)
    names = [samples.GROUND_TRUTH, *sources.REGISTRY]
    cells = [
        *experiments.floor_cells(study, [4]),
        *experiments.grid_cells(study, names, {4: [1]}),
    ]
    rows = grid.rows_of(grid.run(cells))
    assert {row["source"] for row in rows} == {*grid.CLASSICAL, *names}
    assert all(0 < row["SSIM"] < 1 and row["PSNR"] > 5 for row in rows)

    path = folder / "synthetic" / "written.h5"
    synthesis.write_volume(path, parts["train"][0], phase[None], record={"source": "gan"})
    make_mask = subsample.EquispacedMaskFractionFunc([0.04], [4])
    stock = SliceDataset(path.parent, "multicoil", transforms.VarNetDataTransform(make_mask))
    assert tuple(stock[0].target.shape) == parts["train"][0].raw.image_shape
    torch.testing.assert_close(
        stock[0].target, parts["train"][0].pair(0).magnitude, rtol=1e-4, atol=1e-9
    )


def test_the_sparse_start_is_nearer_to_the_full_scan_than_cg_sense(
    measured: tuple[Path, list[pairs.PreparedVolume]],
) -> None:
    for sample in samples.measured_volume(measured[1][0], 4, 0.08):
        encoding = sample.kspace, sample.mask.columns, sample.maps
        images = unrolled.start_of(*encoding)[0], sense.cg_sense(*encoding, 1e-2)
        sparse, linear = (float((image.abs() - sample.target).norm()) for image in images)
        assert sparse < linear
