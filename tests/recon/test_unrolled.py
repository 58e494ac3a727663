"""Learned reconstructions: what holds before, after and without any training."""

from __future__ import annotations

import dataclasses

import fastmri
import numpy as np
import pytest
import torch
from fastmri.models import VarNet
from fastmri.models.varnet import VarNetBlock

from synthlib import arrays, runs
from synthlib.recon import networks, sense, unrolled
from synthlib.recon.sense import SenseRows
from tests.recon.conftest import random_encoding

SMALL = networks.NetworkSettings(network=networks.UNROLLED, cascades=2, chans=4, fine_chans=3)


def trained_like(settings=SMALL, scale=0.05):
    """A network whose last layers, zero before training, have weights as well."""
    with runs.seeded(3, "weights"):
        network = settings.build()
        for value in network.parameters():
            if value.ndim > 1 and not value.any():
                torch.nn.init.normal_(value, std=scale)
    return network


def batch(encoding, n=1):
    """(n, ...) of an encoding of one slice."""
    return [array.expand(n, *array.shape) for array in encoding]


@torch.no_grad()
def image_of(network, encoding, n_center=5):
    return network(*batch(encoding), n_center)[0]


# --- the U-Net -----------------------------------------------------------------------


def test_the_u_net_has_no_biases_and_is_homogeneous():
    network = trained_like(scale=0.3).denoisers[0]
    assert not [name for name, _ in network.named_parameters() if "bias" in name]
    image = torch.randn(2, 4, 45, 38, generator=torch.Generator().manual_seed(1))
    change = network(image)
    assert change.shape == (2, 2, 45, 38)
    assert change.abs().max() > 0.01
    for scale in (1e-5, 70.0):
        torch.testing.assert_close(
            network(scale * image), scale * change, rtol=1e-4, atol=1e-5 * scale
        )


def test_the_u_net_sees_the_same_wherever_the_head_lies():
    """Moved by the pooling's 8 pixels, the change moves along, for zero is what is padded."""
    network = trained_like(scale=0.3).denoisers[0].double()
    image = torch.zeros(1, 4, 160, 168, dtype=torch.float64)
    image[..., 75:87, 80:90] = torch.randn(
        1, 4, 12, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    moved = network(image.roll((8, -8), (-2, -1)))
    torch.testing.assert_close(moved, network(image).roll((8, -8), (-2, -1)))


# --- the unrolled network ------------------------------------------------------------


def test_before_training_it_is_the_sparse_start_and_data_consistency(scanned):
    network = SMALL.build()
    rows = SenseRows(*scanned)
    expected = rows.roll(unrolled.start_of(*scanned)[0])
    for _ in range(2):
        weight = 16 * float(rows.noise())
        expected = rows.solve(expected, weight, network.n_iterations)
    expected = rows.unroll(expected).abs()
    scale = float(expected.max())
    torch.testing.assert_close(image_of(network, scanned), expected, rtol=0, atol=1e-5 * scale)
    # which a trained network leaves
    assert (image_of(trained_like(), scanned) - expected).abs().max() > 1e-3 * scale


def test_the_image_follows_the_scale_of_the_data(scanned):
    network = trained_like()
    image = image_of(network, scanned)
    for scale in (1e-6, 3e4):
        scaled = dataclasses.replace(scanned, kspace=scale * scanned.kspace)
        torch.testing.assert_close(
            image_of(network, scaled), scale * image, rtol=0, atol=1e-3 * scale * float(image.max())
        )


def test_the_u_net_sees_the_image_and_what_cg_sense_has_beyond_it(scanned):
    network = networks.NetworkSettings(
        network=networks.UNROLLED, cascades=1, chans=4, fine_chans=3
    ).build()
    seen = []
    network.denoisers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    image_of(network, scanned)
    start, also_linear = unrolled.start_of(*scanned)
    linear = sense.cg_sense(*scanned, 0.01, n_iterations=6)
    expected = torch.stack([start.real, start.imag, *torch.view_as_real(linear - start).unbind(-1)])
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-5 * float(start.abs().max()))
    torch.testing.assert_close(also_linear, linear, rtol=0, atol=1e-5 * float(start.abs().max()))


def test_a_start_that_is_given_is_the_one_it_would_compute(scanned):
    network = trained_like()
    start = unrolled.start_of(*scanned)[None]
    with torch.no_grad():
        given = network(*batch(scanned), 0, start)[0]
        other = network(*batch(scanned), 0, torch.zeros_like(start))[0]
    torch.testing.assert_close(given, image_of(network, scanned))
    assert (other - given).abs().max() > 1e-3 * given.max()


@pytest.mark.parametrize("shape", [(45, 38), (33, 50)])
@pytest.mark.parametrize("n_coils", [1, 3, 8])
def test_one_network_serves_any_coils_and_matrix(shape, n_coils):
    image = image_of(trained_like(), random_encoding(*shape, n_coils=n_coils))
    assert image.shape == shape
    assert image.isfinite().all()


def test_slices_of_a_batch_do_not_see_each_other():
    encoding = random_encoding(2, 45, 38, n_coils=4)
    masks = torch.stack([encoding.columns, encoding.columns.roll(1)])
    full = arrays.fft2c(encoding.maps * encoding.image[:, None])
    full[1] *= 100
    kspace = full * masks[:, None, None, :]
    network = trained_like()
    with torch.no_grad():
        together = network(kspace, masks, encoding.maps)
        alone = network(kspace[1:], masks[1:], encoding.maps[1:])[0]
    torch.testing.assert_close(together[1], alone, rtol=0, atol=1e-4 * float(alone.max()))


def test_noisier_data_are_trusted_less(scanned, monkeypatch):
    seen, solve = [], SenseRows.solve

    def watched(rows, prior, weight, *rest):
        seen.append(float(weight))
        return solve(rows, prior, weight, *rest)

    monkeypatch.setattr(SenseRows, "solve", watched)
    network = SMALL.build()
    start = unrolled.start_of(*scanned)[None]
    for power in (0.006, 0.06):
        seen.clear()
        network(*batch(scanned), 0, start, torch.tensor([[power, 1.0]]))
        assert seen[-2:] == pytest.approx([16 * power] * 2)  # of both unrolls


def test_all_parameters_learn():
    encoding = random_encoding(45, 38, n_coils=4, noise=0.1)
    network = trained_like()
    loss = (network(*batch(encoding)) - encoding.image.abs()).square().sum()
    loss.backward()
    assert all(value.grad.abs().sum() > 0 for value in network.parameters())


# --- fastMRI's cascades --------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [(networks.NetworkSettings(), 29_936_966)],
)
def test_the_papers_network_has_its_number_of_parameters(settings, expected):
    with torch.device("meta"):
        network = settings.build()
    assert sum(value.numel() for value in network.parameters()) == expected


def test_the_defaults_are_the_papers():
    paper = networks.NetworkSettings()
    assert (paper.network, paper.cascades, paper.chans, paper.pools) == ("end_to_end", 12, 18, 4)
    assert (paper.sens_chans, paper.sens_pools, paper.epochs) == (8, 4, 10)
    assert (paper.center_fraction, paper.schedule, paper.loss) == (0.04, "constant", "ssim")


def test_end_to_end_is_fastmris_varnet_slice_by_slice():
    settings = networks.NetworkSettings(cascades=2, chans=4, pools=2, sens_chans=3, sens_pools=2)
    encoding = random_encoding(2, 45, 38, n_coils=4)
    columns = encoding.columns.clone()
    columns[17:22] = True
    kspace = arrays.fft2c(encoding.maps * encoding.image[:, None]) * columns
    ours = trained_like(settings)
    stock = VarNet(2, 3, 2, 4, 2)
    stock.load_state_dict(ours.varnet.state_dict())
    with torch.no_grad():
        images = ours(kspace, columns.expand(2, -1), encoding.maps, 5)
        for number in range(2):
            real, mask = torch.view_as_real(kspace[number])[None], columns.view(1, 1, 1, -1, 1)
            expected = stock(real, mask, 5)[0]
            torch.testing.assert_close(images[number], expected, rtol=1e-4, atol=1e-4)


def test_given_maps_replace_those_that_fastmri_estimates(monkeypatch):
    settings = networks.NetworkSettings(
        network=networks.GIVEN_MAPS, cascades=2, chans=4, pools=2, sens_chans=3, sens_pools=2
    )
    encoding = random_encoding(45, 38, n_coils=4)
    ours = trained_like(settings)
    stock = VarNet(2, 3, 2, 4, 2)
    stock.cascades.load_state_dict(ours.cascades.state_dict())
    assert isinstance(stock.cascades[0], VarNetBlock)
    maps = torch.view_as_real(encoding.maps)[None]
    monkeypatch.setattr(stock.sens_net, "forward", lambda *_: maps)
    real = torch.view_as_real(encoding.kspace)[None]
    with torch.no_grad():
        expected = stock(real, encoding.columns.view(1, 1, 1, -1, 1), 5)[0]
    torch.testing.assert_close(image_of(ours, encoding), expected, rtol=1e-4, atol=1e-4)
    zero_filled = fastmri.rss(fastmri.complex_abs(fastmri.ifft2c(real)), 1)[0]
    assert (expected - zero_filled).abs().max() > 1e-3


# --- settings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "choice"), [("network", "unet"), ("schedule", "cosine"), ("loss", "l1")]
)
def test_unknown_names_are_refused(name, choice):
    with pytest.raises(ValueError, match=rf"{name} '{choice}' is unknown; choose one of \w+, "):
        networks.NetworkSettings(**{name: choice})


def test_learning_rates_of_the_schedules():
    constant = networks.NetworkSettings(learning_rate=3e-4)
    assert {constant.rate(done) for done in (0.0, 0.3, 0.99)} == {3e-4}
    cycle = networks.NetworkSettings(learning_rate=5e-3, schedule="one_cycle")
    rates = np.array([cycle.rate(done) for done in np.linspace(0, 1, 101)])
    assert 0 < rates[0] < 1e-3
    assert rates.max() == pytest.approx(5e-3)
    assert 0.05 <= rates.argmax() / 100 <= 0.15
    assert rates[-1] < 1e-9
    assert (np.diff(rates[15:]) < 0).all()


def test_steps_are_passes_over_the_slices_unless_they_are_given():
    assert networks.NetworkSettings(epochs=3).n_steps(7) == 21
    assert networks.NetworkSettings(epochs=3, steps=5).n_steps(7) == 5


def test_the_relative_loss_is_a_norm_over_a_norm(draw):
    image, target = torch.rand(2, 1, 1, 45, 38, generator=draw)
    expected = np.linalg.norm(image - target) / np.linalg.norm(target)
    loss = networks.RelativeL2()
    assert float(loss(image, target, torch.tensor([1.0]))) == pytest.approx(expected, rel=1e-5)
    assert float(loss(7 * image, 7 * target, torch.tensor([3.0]))) == pytest.approx(
        expected, rel=1e-5
    )
