"""The fast end-to-end VarNet against fastMRI's own, with the same weights."""

import pytest
import torch
from fastmri.models import VarNet

from synthlib.recon.end_to_end import EndToEndVarNet

SIZES = {"num_cascades": 3, "sens_chans": 3, "sens_pools": 3, "chans": 5, "pools": 2}


def networks(dtype=torch.float64, **changes):
    torch.manual_seed(1)
    stock = VarNet(**{**SIZES, **changes}).to(dtype)
    for number, cascade in enumerate(stock.cascades):
        torch.nn.init.constant_(cascade.dc_weight, 0.7 + 0.2 * number)
    fast = EndToEndVarNet(**{**SIZES, **changes}).to(dtype)
    fast.load_state_dict(stock.state_dict())
    return stock, fast


def undersampled(n_coils=3, ny=37, nx=46, n_center=5, dtype=torch.complex128):
    draw = torch.Generator().manual_seed(2)
    columns = torch.arange(nx) % 3 == 1
    begin = (nx - n_center + 1) // 2
    columns[begin : begin + n_center] = True
    kspace = torch.randn(n_coils, ny, nx, dtype=torch.complex128, generator=draw)
    return (kspace * columns).to(dtype), columns, n_center


def of_stock(stock, kspace, columns, n_center):
    return stock(torch.view_as_real(kspace)[None], columns.view(1, 1, 1, -1, 1), n_center)[0]


def gradients(network, image):
    """Of a loss that weighs every pixel otherwise."""
    weights = torch.linspace(0.2, 1.7, image.numel(), dtype=image.dtype).view_as(image).sin()
    network.zero_grad()
    (image * weights).sum().backward()
    return {name: value.grad.clone() for name, value in network.named_parameters()}


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((37, 46), {}),
        ((48, 35), {"mask_center": False}),
        ((33, 52), {"pools": 5}),  # deeper than the padding: odd levels
    ],
)
def test_image_and_gradients_are_those_of_fastmri(shape, changes):
    stock, fast = networks(**changes)
    sample = undersampled(ny=shape[0], nx=shape[1])
    expected, image = of_stock(stock, *sample), fast(*sample)
    torch.testing.assert_close(image, expected, rtol=1e-9, atol=1e-9)
    theirs, ours = gradients(stock, expected), gradients(fast, image)
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= 1e-7 * gradient.norm(), name


def test_in_single_precision_it_differs_by_rounding_only():
    stock, fast = networks(torch.float32)
    sample = undersampled(dtype=torch.complex64)
    expected, image = of_stock(stock, *sample), fast(*sample)
    assert (image - expected).norm() < 1e-5 * expected.norm()
    theirs, ours = gradients(stock, expected), gradients(fast, image)
    total = torch.cat([gradient.flatten() for gradient in theirs.values()]).norm()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() < 1e-5 * total, name


def test_checkpointing_changes_no_gradient():
    _, fast = networks(torch.float32)
    sample = undersampled(dtype=torch.complex64)
    plain = gradients(fast, fast(*sample))
    fast.checkpointing = True
    again = gradients(fast, fast(*sample))
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-8)


def test_names_and_shapes_of_the_weights_are_fastmris():
    stock, fast = (kind(12, 8, 4, 18, 4) for kind in (VarNet, EndToEndVarNet))
    shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (stock, fast)]
    assert shapes[0] == shapes[1]
    assert sum(value.numel() for value in fast.parameters()) == 29_936_966


def test_a_batch_and_a_mask_without_centre_are_refused():
    _, fast = networks()
    kspace, columns, _ = undersampled()
    with pytest.raises(ValueError, match=r"expected complex \(coil, ky, kx\)"):
        fast(kspace[None], columns, 5)
    with pytest.raises(ValueError, match="0 centre columns of 46"):
        fast(kspace, columns, 0)
