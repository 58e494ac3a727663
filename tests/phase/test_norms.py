"""Norms: what they take their statistics from, and how far a discriminator can be steep."""

import pytest
import torch
from torch import nn

from synthlib.phase import norms, pix2pix


def layers(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


def test_the_papers_norms_are_the_default():
    network, discriminator = pix2pix.UNetGenerator(1, 2, 5), pix2pix.PatchDiscriminator(2, 4)
    assert len(layers(network, nn.BatchNorm2d)) == 3 + 4
    assert all(not norm.track_running_stats for norm in layers(network, nn.BatchNorm2d))
    assert len(layers(discriminator, nn.BatchNorm2d)) == 3
    assert all(norm.track_running_stats for norm in layers(discriminator, nn.BatchNorm2d))


@pytest.mark.parametrize(("kind", "depends"), [("batch", True), ("instance", False)])
def test_with_instance_norm_an_image_does_not_depend_on_its_batch(kind, depends, draw):
    torch.manual_seed(0)
    network = pix2pix.UNetGenerator(1, 4, 4, norm=kind)  # no dropout at this depth
    discriminator = pix2pix.PatchDiscriminator(2, 4, norm=kind)
    images = torch.rand(3, 1, 45, 38, generator=draw) * 2 - 1
    for part in (network, lambda x: discriminator(x, -x)):
        alone, among = part(images[:1]), part(images)[:1]
        assert torch.allclose(alone, among, rtol=1e-3, atol=1e-5) != depends


def test_in_a_batch_of_one_instance_norm_is_batch_norm_before_it_has_learned(draw):
    x = torch.randn(1, 5, 7, 6, generator=draw) * 3 + 2
    for make in (norms.generator_norm, norms.discriminator_norm):
        torch.testing.assert_close(make("batch", 5)(x), make("instance", 5)(x))
    assert list(norms.generator_norm("instance", 5).parameters()) == []


def limited(ndf=6, seed=0):
    torch.manual_seed(seed)
    discriminator = pix2pix.PatchDiscriminator(2, ndf, norm="spectral")
    pix2pix.initialise(discriminator)
    norms.limit_spectrum(discriminator)
    return discriminator


def test_a_limited_discriminators_convolutions_have_a_largest_singular_value_of_one(draw):
    discriminator = limited()
    pair = torch.randn(1, 2, 45, 38, generator=draw)
    with torch.no_grad():
        for _ in range(100):  # power iterations, one a pass
            discriminator(pair[:, :1], pair[:, 1:])
    convolutions = layers(discriminator, nn.Conv2d)
    assert len(convolutions) == 5
    for layer in convolutions:
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1).double())[0]
        assert float(largest) == pytest.approx(1, abs=0.01)
        drawn = layer.parametrizations.weight.original.detach()
        assert abs(float(drawn.std()) - 0.02) < 0.006  # pix2pix's initial weights stay beneath


def test_a_limited_discriminator_has_no_other_norm_and_biases_instead():
    discriminator = limited()
    assert layers(discriminator, nn.BatchNorm2d) == layers(discriminator, nn.InstanceNorm2d) == []
    assert all(layer.bias is not None for layer in layers(discriminator, nn.Conv2d))


def test_a_large_weight_makes_a_limited_discriminator_no_steeper(draw):
    pair = torch.randn(1, 2, 45, 38, generator=draw)
    outputs = []
    for factor in (1.0, 100.0):
        discriminator = limited()
        with torch.no_grad():
            for layer in layers(discriminator, nn.Conv2d):
                layer.parametrizations.weight.original.mul_(factor)
            for _ in range(30):
                logits = discriminator(pair[:, :1], pair[:, 1:])
        outputs.append(logits)
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (norms.generator_norm, "norm 'layer' is unknown; expected one of batch, instance"),
        (norms.discriminator_norm, "discriminator_norm 'layer' is unknown; .* spectral"),
    ],
)
def test_an_unknown_norm_is_refused_with_those_there_are(make, names):
    with pytest.raises(ValueError, match=names):
        make("layer", 4)
    with pytest.raises(ValueError, match=r"norm 'spectral' is unknown"):
        norms.generator_norm("spectral", 4)
