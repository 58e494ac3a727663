"""Layers that double and halve a grid: against loops over pixels, and what they do to a period."""

import itertools
import math

import pytest
import torch
from torch import nn

from synthlib.phase import pix2pix, resizing
from synthlib.phase.convolutions import Conv2d, ConvTranspose2d

SMOOTH = [kind for kind in resizing.UPSAMPLING if kind != "transposed"]


def image(shape, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("kind", resizing.UPSAMPLING)
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 5, 4), (1, 3, 7, 2)])
def test_every_kind_doubles_rows_and_columns(kind, shape):
    layer = resizing.upsampling_layer(kind, 3, 2, bias=True).double()
    assert layer(image(shape)).shape == (shape[0], 2, 2 * shape[2], 2 * shape[3])


@pytest.mark.parametrize("kind", resizing.DOWNSAMPLING)
@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (2, 3, 6, 4), (1, 3, 14, 2)])
def test_every_kind_halves_rows_and_columns(kind, shape):
    layer = resizing.downsampling_layer(kind, 3, 2).double()
    assert layer(image(shape)).shape == (shape[0], 2, shape[2] // 2, shape[3] // 2)


def enlarged(x, how):
    """Doubled pixel by pixel: pixel i of the new grid lies at (i - 1/2) / 2 of the old one."""
    ny, nx = x.shape[-2:]
    larger = x.new_zeros(*x.shape[:-2], 2 * ny, 2 * nx)
    for i, j in itertools.product(range(2 * ny), range(2 * nx)):
        if how == "nearest":
            larger[..., i, j] = x[..., i // 2, j // 2]
            continue
        for (y, wy), (z, wz) in itertools.product(*(weights(k, n) for k, n in ((i, ny), (j, nx)))):
            larger[..., i, j] += wy * wz * x[..., y, z]
    return larger


def weights(k, n):
    """(old pixel, weight) of the new pixel k between the n old ones, held at the ends."""
    place = (k - 0.5) / 2
    low = math.floor(place)
    share = place - low
    return [(min(max(low, 0), n - 1), 1 - share), (min(max(low + 1, 0), n - 1), share)]


def convolved(x, weight, bias):
    """3 x 3 with zeros around, tap by tap."""
    ny, nx = x.shape[-2:]
    padded = x.new_zeros(*x.shape[:-2], ny + 2, nx + 2)
    padded[..., 1:-1, 1:-1] = x
    total = bias[:, None, None].expand(len(x), -1, ny, nx).clone()
    for dy, dx in itertools.product(range(3), range(3)):
        shifted = padded[..., dy : dy + ny, dx : dx + nx]
        total = total + torch.einsum("oc,bcyx->boyx", weight[:, :, dy, dx], shifted)
    return total


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_a_resized_convolution_is_the_image_enlarged_and_convolved(how):
    layer = resizing.upsampling_layer(how, 3, 2, bias=True).double()
    x = image((2, 3, 5, 4))
    torch.testing.assert_close(layer(x), convolved(enlarged(x, how), layer.weight, layer.bias))


def test_a_subpixel_convolution_deals_its_channels_out_to_squares_of_pixels():
    layer = resizing.upsampling_layer("subpixel", 3, 2, bias=True).double()
    x = image((2, 3, 5, 4))
    channels = convolved(x, layer.weight, layer.bias)  # (2, 8, 5, 4)
    larger = layer(x)
    for channel, dy, dx in itertools.product(range(2), range(2), range(2)):
        expected = channels[:, 4 * channel + 2 * dy + dx]
        torch.testing.assert_close(larger[:, channel, dy::2, dx::2], expected)


def test_a_subpixel_convolution_begins_as_nearest_enlargement():
    torch.manual_seed(0)
    layer = resizing.SubPixelConv2d(3, 2, bias=True).double()
    assert not torch.equal(layer.weight[0], layer.weight[1])
    pix2pix.initialise(layer)
    assert abs(layer.weight.std() - 0.02) < 0.005
    assert not torch.equal(layer.weight[0], layer.weight[4])  # other channels are others
    x = image((2, 3, 5, 4))
    small = convolved(x, layer.weight[::4], layer.bias[::4])
    torch.testing.assert_close(layer(x), enlarged(small, "nearest"))


def period_of(layer, axis):
    """Mean |difference| of neighbours in what a layer makes of a flat image, over its mean."""
    flat = torch.ones(1, 8, 12, 10, dtype=torch.float64)
    inner = layer(flat).detach()[..., 4:-4, 4:-4]  # the border sees zeros
    steps = inner.diff(dim=axis).abs()
    return float(steps.mean() / inner.abs().mean())


@pytest.mark.parametrize("kind", resizing.UPSAMPLING)
@pytest.mark.parametrize("axis", [2, 3])
def test_only_a_transposed_convolution_weaves_a_period_into_a_flat_image(kind, axis):
    torch.manual_seed(3)
    layer = resizing.upsampling_layer(kind, 8, 4, bias=False).double()
    pix2pix.initialise(layer)
    if kind == "transposed":
        assert period_of(layer, axis) > 0.3
    else:
        assert period_of(layer, axis) < 1e-12


def test_a_blur_keeps_the_mean_and_removes_what_alternates():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    for pattern in ((-1) ** y, (-1) ** x, (-1) ** (x + y)):
        assert resizing.binomial_blur(pattern[None, None]).abs().max() < 1e-6
    flat = torch.full((1, 2, 8, 6), 3.0)
    torch.testing.assert_close(resizing.binomial_blur(flat), flat)
    # cos(w y) passes by (1 + cos w) / 2, away from the border
    wave = torch.cos(0.7 * y.double())[None, None]
    inner = resizing.binomial_blur(wave)[..., 1:-1, :]
    torch.testing.assert_close(inner, wave[..., 1:-1, :] * (1 + math.cos(0.7)) / 2)


def test_blur_before_a_strided_convolution_is_blur_before_the_subsampling():
    layer = resizing.downsampling_layer("blur", 3, 2).double()
    x = image((2, 3, 14, 10))
    dense = nn.functional.conv2d(x, layer.weight, padding=1)  # stride 1: (2, 2, 13, 9)
    expected = resizing.binomial_blur(dense)[..., ::2, ::2]
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(layer(x)[inner], expected[inner])


def test_a_pattern_of_one_pixel_is_not_folded_into_what_is_coarser():
    checks = (-1.0) ** (torch.arange(12)[:, None] + torch.arange(10)[None, :])
    x = checks.double()[None, None].expand(1, 3, 12, 10)
    strided = Conv2d(3, 2).double()
    blurred = resizing.BlurredConv2d(3, 2).double()
    blurred.load_state_dict(strided.state_dict())
    assert strided(x).abs().mean() > 0.05
    assert blurred(x).abs().max() < 1e-12


@pytest.mark.parametrize("kind", resizing.UPSAMPLING)
@pytest.mark.parametrize("down", resizing.DOWNSAMPLING)
def test_a_network_of_any_kind_keeps_any_matrix(kind, down):
    network = pix2pix.UNetGenerator(2, ngf=2, depth=5, upsampling=kind, downsampling=down)
    with torch.no_grad():
        out = network(torch.rand(1, 1, 45, 38) * 2 - 1)
    assert out.shape == (1, 2, 45, 38)
    assert out.isfinite().all()


def count(network, kind):
    return sum(type(module) is kind for module in network.modules())


def test_the_kinds_are_built_at_every_level_where_they_are_asked_for():
    def build(**choice):
        return pix2pix.UNetGenerator(1, ngf=2, depth=5, **choice)

    assert count(build(), ConvTranspose2d) == count(build(), Conv2d) == 5
    assert count(build(upsampling="bilinear"), resizing.ResizedConv2d) == 5
    assert count(build(upsampling="subpixel"), resizing.SubPixelConv2d) == 5
    assert count(build(upsampling="nearest"), ConvTranspose2d) == 0
    assert count(build(downsampling="blur"), resizing.BlurredConv2d) == 5
    assert count(build(downsampling="blur"), Conv2d) == 0


@pytest.mark.parametrize(
    ("kind", "n_expected"),
    # 4 x 4 weights for a pair of channels, 3 x 3, or 3 x 3 for four
    [("transposed", 1.0), ("nearest", 9 / 16), ("bilinear", 9 / 16), ("subpixel", 36 / 16)],
)
def test_what_the_kinds_cost_in_weights(kind, n_expected):
    with torch.device("meta"):
        plain, other = (pix2pix.UNetGenerator(upsampling=name) for name in ("transposed", kind))
    n_plain, n_other = (
        sum(p.numel() for p in network.up.parameters() if p.ndim == 4) for network in (plain, other)
    )
    assert n_other / n_plain == n_expected


@pytest.mark.parametrize(
    "build", [lambda: resizing.upsampling_layer("cubic", 1, 1, bias=False),
              lambda: resizing.downsampling_layer("cubic", 1, 1)]
)  # fmt: skip
def test_an_unknown_kind_is_refused_with_those_there_are(build):
    with pytest.raises(ValueError, match=r"sampling 'cubic' is unknown; expected one of \w+, "):
        build()
