"""The GAN's settings: the paper's by default, each cure alone, and what is refused."""

import dataclasses
import json

import pytest
import torch

from synthlib import runs
from synthlib.phase import generator, pix2pix, resizing
from synthlib.phase.settings import Architecture, GanSettings


def test_the_defaults_are_the_papers_and_every_cure_is_off():
    paper = GanSettings()
    assert (paper.upsampling, paper.downsampling, paper.scale) == (
        "transposed",
        "strided",
        "maximum",
    )
    assert (paper.norm, paper.discriminator_norm, paper.l1_weight) == ("batch", "batch", "uniform")
    assert (paper.discriminator_rate, paper.lambda_kspace, paper.jitter) == (None, 0.0, False)
    with torch.device("meta"):
        assert pix2pix.n_parameters(paper.architecture.build()) == 54_407_809
        assert pix2pix.n_parameters(paper.build_discriminator()) == 2_764_609


def test_the_architecture_has_all_that_the_settings_say_of_it():
    settings = GanSettings("vector", 4, 5, upsampling="bilinear", downsampling="blur",
                           norm="instance", scale="percentile")  # fmt: skip
    found = dataclasses.asdict(settings.architecture)
    whole = dataclasses.asdict(settings)
    assert found == {name: whole[name] for name in found}
    network = settings.architecture.build()
    assert any(isinstance(m, resizing.ResizedConv2d) for m in network.modules())
    assert any(isinstance(m, resizing.BlurredConv2d) for m in network.modules())
    assert any(isinstance(m, torch.nn.InstanceNorm2d) for m in network.modules())
    judge = dataclasses.replace(settings, discriminator_norm="spectral").build_discriminator()
    assert judge.layers[0].in_channels == 3
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in judge.modules())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "angle"}, "mode 'angle' is unknown; expected one of scalar, vector"),
        ({"upsampling": "cubic"}, "upsampling 'cubic' is unknown; .*subpixel.*paper's is trans"),
        ({"downsampling": "max"}, "downsampling 'max' is unknown; .*strided, blur"),
        ({"norm": "spectral"}, "norm 'spectral' is unknown; expected one of batch, instance"),
        ({"discriminator_norm": "none"}, "discriminator_norm 'none' is unknown; .*spectral"),
        ({"scale": "mean"}, "scale 'mean' is unknown; expected one of maximum, percentile"),
        ({"l1_weight": "heavy"}, "l1_weight 'heavy' is unknown; expected one of uniform, signal"),
        ({"ngf": 0}, "ngf is 0; expected 1 channels or more. Set ngf"),
        ({"ndf": 0}, "ndf is 0; expected 1 channels or more"),
        ({"depth": 2}, "depth is 2; expected 3 layers down or more"),
        ({"epochs": 0}, "epochs is 0; expected 1 passes"),
        ({"batch_size": 0}, "batch_size is 0; expected 1 slices"),
        ({"threads": 0}, "threads is 0; expected 1 CPU threads or more. Set threads"),
        ({"lambda_l1": -1.0}, "lambda_l1 is -1.0; expected 0 times"),
        ({"lambda_kspace": float("nan")}, "lambda_kspace is nan; expected 0 times"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a number above 0"),
        ({"discriminator_rate": -1e-4}, "discriminator_rate is -0.0001; expected a number above"),
        ({"beta1": 1.0}, "beta1 is 1.0; expected a number from 0 to below 1"),
        ({"beta2": -0.1}, "beta2 is -0.1; expected a number from 0 to below 1"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(changes, message):
    with pytest.raises(ValueError, match=message):
        GanSettings(**changes)


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture("vector", 2, 5, upsampling=up, downsampling=down, norm=norm, scale=scale)
        for up, down, norm, scale in (
            ("transposed", "blur", "instance", "maximum"),
            ("nearest", "strided", "batch", "percentile"),
            ("bilinear", "blur", "batch", "percentile"),
            ("subpixel", "strided", "instance", "maximum"),
        )
    ],
)
def test_weights_come_back_with_all_of_their_architecture(architecture, tmp_path, draw):
    torch.manual_seed(0)
    network = architecture.build()
    pix2pix.initialise(network)
    generator.save(tmp_path / "w.safetensors", network, architecture, {"parameters": {}})
    again = generator.load(tmp_path / "w.safetensors")
    assert again.architecture == architecture
    magnitude = torch.rand(45, 38, generator=draw)
    magnitude[3, 4] = 30.0  # a vessel: the scales differ
    before = generator.PhaseGenerator(network, architecture)
    assert torch.equal(again(magnitude, seed=1), before(magnitude, seed=1))


def test_the_scale_of_the_training_is_that_of_the_writing(draw):
    torch.manual_seed(0)
    first, second = (Architecture("scalar", 2, 5, scale=s) for s in ("maximum", "percentile"))
    network = first.build()
    magnitude = 0.1 + torch.rand(45, 38, generator=draw)
    bright = magnitude.clone()
    bright[3, 4] = 200.0
    by_maximum, by_percentile = (
        [generator.PhaseGenerator(network, a)(image, seed=1) for image in (magnitude, bright)]
        for a in (first, second)
    )
    moved, kept = ((one - other).abs().median() for one, other in (by_maximum, by_percentile))
    assert moved > 5 * kept


def save_with(path, architecture, entries):
    """Weights as an older or newer version would have written them."""
    metadata = {"architecture": json.dumps(entries), "record": "{}"}
    runs.write_weights(path, architecture.build().state_dict(), metadata)


def test_weights_of_before_the_cures_load_as_the_papers(tmp_path):
    path = tmp_path / "old.safetensors"
    save_with(path, Architecture("scalar", 2, 5), {"mode": "scalar", "ngf": 2, "depth": 5})
    assert generator.load(path).architecture == Architecture("scalar", 2, 5)


def test_weights_of_a_newer_version_are_told(tmp_path):
    path = tmp_path / "new.safetensors"
    save_with(path, Architecture("scalar", 2, 5), {"mode": "scalar", "attention": True})
    with pytest.raises(ValueError, match=r"new\.safetensors names attention .*Update synthlib"):
        generator.load(path)


def test_weights_of_another_upsampling_do_not_pass_for_these(tmp_path):
    path = tmp_path / "other.safetensors"
    built = Architecture("scalar", 2, 5, upsampling="bilinear")
    save_with(path, built, {"mode": "scalar", "ngf": 2, "depth": 5})
    with pytest.raises(ValueError, match=r"weights of another architecture: up\.\d\.1\.weight"):
        generator.load(path)
