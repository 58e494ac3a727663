"""The networks and losses against Isola et al. (2017) and an independent U-Net."""

import math

import pytest
import torch
from torch import nn

from synthlib import pairs
from synthlib.phase import generator, pix2pix, settings
from synthlib.phase.convolutions import Conv2d, ConvTranspose2d


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: pix2pix.UNetGenerator(1), 54_407_809),
        (lambda: pix2pix.UNetGenerator(2), 54_409_858),
        (lambda: pix2pix.PatchDiscriminator(2), 2_764_609),
        (lambda: pix2pix.PatchDiscriminator(3), 2_765_633),
        (lambda: generator.Architecture().build(), 54_407_809),
        (lambda: generator.Architecture(mode="vector").build(), 54_409_858),
    ],
)
def test_networks_have_the_papers_number_of_parameters(build, expected):
    with torch.device("meta"):
        assert pix2pix.n_parameters(build()) == expected


def test_discriminator_gives_30x30_logits_for_a_256x256_pair():
    with torch.device("meta"):
        judge = pix2pix.PatchDiscriminator(3)
        logits = judge(torch.empty(2, 1, 256, 256), torch.empty(2, 2, 256, 256))
    assert logits.shape == (2, 1, 30, 30)


def without_norms(network):
    """Batch norm spreads every pixel over the whole image; this is the network without it."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return network


def test_every_logit_sees_a_patch_of_70x70_pixels():
    torch.manual_seed(0)
    judge = without_norms(pix2pix.PatchDiscriminator(2, ndf=4).double())
    pair = torch.randn(1, 2, 141, 133, dtype=torch.float64, requires_grad=True)
    logits = judge(pair[:, :1], pair[:, 1:])
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    for channel in pair.grad[0]:  # magnitude, then phase: both are looked at
        rows, columns = torch.nonzero(channel, as_tuple=True)
        assert rows.max() - rows.min() + 1 == 70
        assert columns.max() - columns.min() + 1 == 70


@pytest.mark.parametrize(
    ("shape", "depth"),
    [((45, 38), 5), ((230, 181), 8), ((320, 320), 8), ((256, 256), 8), ((33, 17), 6), ((65, 2), 7)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_any_matrix_comes_out_again_unchanged_in_size(shape, depth, channels):
    network = pix2pix.UNetGenerator(channels, ngf=2, depth=depth)
    with torch.no_grad():
        out = network(torch.rand(1, 1, *shape) * 2 - 1)
    assert out.shape == (1, channels, *shape)
    assert torch.isfinite(out).all()
    assert out.abs().max() <= 1


def test_the_last_row_and_column_of_an_odd_matrix_reach_the_output():
    torch.manual_seed(0)
    network = without_norms(pix2pix.UNetGenerator(1, ngf=2, depth=4))  # no dropout at this depth
    image = torch.rand(1, 1, 45, 37)
    changed = image.clone()
    changed[..., -1, :] += 0.5
    changed[..., -1] += 0.5
    difference = (network(changed) - network(image)).abs()[0, 0]
    assert (difference[-1] > 0).all()
    assert (difference[:, -1] > 0).all()


class RecursiveUNet(nn.Module):
    """pix2pix's generator as its authors nest it: each block holds the one inside it.

    `depth` - 5 blocks with dropout lie above the innermost one, as in their code.
    """

    def __init__(self, channels, ngf, depth):
        super().__init__()
        block = self.Block(8 * ngf, 8 * ngf, None)
        for _ in range(depth - 5):
            block = self.Block(8 * ngf, 8 * ngf, block, dropout=True)
        for outer in (4, 2, 1):
            block = self.Block(outer * ngf, 2 * outer * ngf, block)
        self.first = nn.Conv2d(1, ngf, 4, 2, 1, bias=False)
        self.block = block
        self.last = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(2 * ngf, channels, 4, 2, 1), nn.Tanh()
        )

    def forward(self, image):
        return self.last(self.block(self.first(image)))

    class Block(nn.Module):
        def __init__(self, outer, inner, inside, dropout=False):
            super().__init__()
            self.down = nn.Conv2d(outer, inner, 4, 2, 1, bias=False)
            self.down_norm = nn.BatchNorm2d(inner) if inside else nn.Identity()
            self.inside = inside or nn.Identity()
            self.up = nn.ConvTranspose2d(2 * inner if inside else inner, outer, 4, 2, 1, bias=False)
            self.up_norm = nn.BatchNorm2d(outer)
            self.dropout = nn.Dropout(0.5) if dropout else nn.Identity()

        def forward(self, x):
            below = self.down_norm(self.down(nn.functional.leaky_relu(x, 0.2)))
            above = self.up(nn.functional.relu(self.inside(below)))
            return torch.cat([x, self.dropout(self.up_norm(above))], dim=1)


@pytest.mark.parametrize(("depth", "shape"), [(5, (64, 96)), (7, (128, 256)), (8, (256, 512))])
def test_where_sizes_divide_it_is_the_authors_unet_to_the_letter(depth, shape):
    torch.manual_seed(0)
    ours = pix2pix.UNetGenerator(2, ngf=2, depth=depth)
    pix2pix.initialise(ours)
    theirs = RecursiveUNet(2, ngf=2, depth=depth)
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    downs = [m for level in ours.down for m in level if isinstance(m, kinds)]
    ups = [m for level in reversed(ours.up) for m in level if isinstance(m, kinds)]
    blocks = [m for m in theirs.modules() if isinstance(m, RecursiveUNet.Block)]
    outside_in = [theirs.first]
    for block in blocks:
        outside_in += [m for m in (block.down, block.down_norm) if isinstance(m, kinds)]
    inside_out = [m for block in reversed(blocks) for m in (block.up, block.up_norm)]
    inside_out.append(theirs.last[1])
    for mine, other in zip(downs + ups, outside_in + inside_out, strict=True):
        other.load_state_dict(mine.state_dict(), strict=not isinstance(mine, nn.BatchNorm2d))
    image = torch.rand(1, 1, *shape) * 2 - 1
    torch.manual_seed(5)
    expected = theirs(image)
    torch.manual_seed(5)  # the same draws of dropout
    torch.testing.assert_close(ours(image), expected, rtol=1e-5, atol=1e-6)


def test_the_papers_depth_has_three_layers_of_dropout():
    with torch.device("meta"):
        network = pix2pix.UNetGenerator()
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5] * 3


@pytest.mark.parametrize(("shape", "depth"), [((16, 12), 5), ((128, 90), 8)])
def test_an_image_too_small_for_the_depth_is_refused_with_a_depth_that_works(shape, depth):
    network = pix2pix.UNetGenerator(1, ngf=2, depth=depth)
    with pytest.raises(ValueError, match=r"depth of at most \d") as caught:
        network(torch.zeros(1, 1, *shape))
    assert f"{shape[0]}x{shape[1]}" in str(caught.value)
    works = int(str(caught.value).rstrip(".").split()[-1])
    assert pix2pix.UNetGenerator(1, ngf=2, depth=works)(torch.zeros(1, 1, *shape)).shape[2:] == (
        shape
    )
    with pytest.raises(ValueError, match="depth"):
        pix2pix.UNetGenerator(1, ngf=2, depth=works + 1)(torch.zeros(1, 1, *shape))


@pytest.fixture(scope="module")
def writer():
    torch.manual_seed(0)
    architecture = generator.Architecture("scalar", ngf=4, depth=6)
    network = architecture.build()
    pix2pix.initialise(network)
    return generator.PhaseGenerator(network, architecture)


def test_dropout_stays_on_and_the_seed_chooses_its_draw(writer):
    magnitude = torch.rand(45, 38)
    first = writer(magnitude, seed=1)
    assert first.shape == (45, 38)
    assert torch.equal(writer(magnitude, seed=1), first)
    assert not torch.allclose(writer(magnitude, seed=2), first)
    assert not torch.allclose(writer(magnitude, seed=1, name="another slice"), first)


def test_writing_phase_leaves_the_global_random_state_untouched(writer):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    writer(torch.rand(45, 38, generator=torch.Generator().manual_seed(1)), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_writing_phase_leaves_the_weights_as_they_were(writer):
    before = {key: value.clone() for key, value in writer.network.state_dict().items()}
    writer(torch.rand(45, 38), seed=3)
    after = writer.network.state_dict()
    assert [key for key in before if not torch.equal(before[key], after[key])] == []


def test_the_unit_of_the_magnitude_does_not_matter(writer):
    magnitude = torch.rand(45, 38)
    torch.testing.assert_close(writer(magnitude * 1e-5, seed=1), writer(magnitude, seed=1))


@pytest.mark.parametrize("mode", ["scalar", "vector"])
def test_phase_written_for_a_network_and_read_back_is_the_same_on_the_circle(mode):
    phase = torch.linspace(-math.pi, math.pi, 46 * 38)[1:].roll(5)[: 45 * 38].reshape(45, 38)
    target = pairs.phase_to_target(phase, mode)
    assert target.shape == (settings.MODES[mode], 45, 38)
    assert target.abs().max() <= 1
    error = torch.polar(torch.ones(45, 38), pairs.target_to_phase(target, mode) - phase).angle()
    assert error.abs().max() < 1e-5


def test_an_unknown_phase_mode_is_refused():
    with pytest.raises(
        ValueError, match=r"mode 'angle' is unknown; expected one of scalar, vector"
    ):
        generator.Architecture("angle").build()


def test_initial_weights_are_normal_around_zero_and_norms_around_one():
    torch.manual_seed(0)
    for network in (pix2pix.UNetGenerator(1, ngf=32, depth=6), pix2pix.PatchDiscriminator(2, 48)):
        pix2pix.initialise(network)
        scales = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 2e4:
                assert abs(module.weight.mean()) < 5e-4
                assert abs(module.weight.std() - 0.02) < 5e-4
            elif isinstance(module, nn.BatchNorm2d):
                scales.append(module.weight)
            if getattr(module, "bias", None) is not None:
                assert (module.bias == 0).all()
        scales = torch.cat(scales)
        assert abs(scales.mean() - 1) < 3e-3
        assert abs(scales.std() - 0.02) < 3e-3


def test_losses_at_zero_logits_are_ln_2():
    zero = torch.zeros(2, 1, 5, 3)
    assert pix2pix.discriminator_loss(zero, zero).item() == pytest.approx(math.log(2))
    assert pix2pix.adversarial_loss(zero).item() == pytest.approx(math.log(2))


def test_losses_at_known_logits_are_the_cross_entropies():
    real, fake = torch.full((1, 1, 4, 3), 1.5), torch.full((1, 1, 4, 3), -0.7)
    of_real, of_fake = math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(-0.7))
    expected = (of_real + of_fake) / 2
    assert pix2pix.discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    fooled = math.log(1 + math.exp(0.7))
    assert pix2pix.adversarial_loss(fake).item() == pytest.approx(fooled, rel=1e-6)


def test_uniform_l1_is_the_mean_absolute_difference(draw):
    synthetic, target, magnitude = (torch.rand(2, c, 9, 7, generator=draw) for c in (2, 2, 1))
    found = pix2pix.l1_loss(synthetic, target, magnitude, "uniform")
    torch.testing.assert_close(found, (synthetic - target).abs().mean())


def test_signal_weighted_l1_passes_air_by_and_counts_fat_no_more_than_brain():
    magnitude = torch.full((1, 1, 10, 12), -1.0)  # air
    magnitude[..., 2:8, 2:8] = -0.4  # brain, 0.3 of the maximum
    magnitude[..., 8, :] = 1.0  # a bright rim
    weight = pix2pix.signal_weight(magnitude)
    assert not weight[magnitude == -1].any()
    assert (weight[magnitude > -1] == 1).all()
    target = torch.zeros(1, 1, 10, 12)
    noise = torch.where(magnitude == -1, 0.9, 0.0)
    assert pix2pix.l1_loss(target + noise, target, magnitude, "signal") == 0
    torch.testing.assert_close(
        pix2pix.l1_loss(target + 0.25, target, magnitude, "signal"), torch.tensor(0.25)
    )


def test_signal_weight_of_an_empty_image_is_finite():
    weight = pix2pix.signal_weight(torch.full((2, 1, 8, 8), -1.0))
    assert weight.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (1, 5, 3, 2), (1, 5, 41, 37)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: Conv2d(5, 3, bias=True), lambda: nn.Conv2d(5, 3, 4, 2, 1)),
        (lambda: Conv2d(5, 1, stride=1, bias=True), lambda: nn.Conv2d(5, 1, 4, 1, 1)),
        (lambda: Conv2d(5, 3, stride=1), lambda: nn.Conv2d(5, 3, 4, 1, 1, bias=False)),
        (lambda: ConvTranspose2d(5, 3), lambda: nn.ConvTranspose2d(5, 3, 4, 2, 1, bias=False)),
        (lambda: ConvTranspose2d(5, 1, bias=True), lambda: nn.ConvTranspose2d(5, 1, 4, 2, 1)),
    ],
)
def test_products_give_what_torchs_convolutions_give(shape, ours, theirs):
    torch.manual_seed(0)
    if shape[-1] == 2 and ours().stride[0] == 1:
        pytest.skip("smaller than the kernel")
    results = []
    layer = ours().double()
    for module in (layer, theirs().double()):
        module.load_state_dict(layer.state_dict())
        x = torch.linspace(-1, 1, math.prod(shape), dtype=torch.float64).cos().view(shape)
        x.requires_grad_()
        y = module(x)
        gradients = torch.autograd.grad((y * y.detach().sin()).sum(), [x, *module.parameters()])
        results.append([y, *gradients])
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)
