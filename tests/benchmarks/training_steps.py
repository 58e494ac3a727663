"""One step of training against the original's, in turn; and the memory that a large one takes.

    python -m tests.benchmarks.training_steps

Ratios are of the processor's time, which other programs disturb less than the
clock on the wall; both are printed. Every row is one function that yields
(what, ours, peer, theirs, turns): add another to ROWS.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator

import torch
from fastmri.models import VarNet
from lightning_fabric import Fabric

from synthlib import arrays
from synthlib.phase import pix2pix, steps, training
from synthlib.recon import masks, networks
from synthlib.recon.end_to_end import EndToEndVarNet
from tests.benchmarks import original_pix2pix
from tests.benchmarks.timing import interleaved

Row = tuple[str, Callable[[], object], str, Callable[[], object], int]
GAN_SIZES = ((256, 64, 8, 4), (256, 128, 8, 2), (128, 16, 7, 40))  # matrix, ngf, depth, turns
GAN_PRECISIONS = ("32-true", "bf16-mixed")
THREADS = (1, 2)


def gan_steps() -> Iterator[Row]:
    for size, width, depth, turns in GAN_SIZES:
        magnitude, target = torch.rand(2, 1, 1, size, size) * 2 - 1
        original = original_pix2pix.Trainer(width, depth)
        for network in (original.g, original.d):
            pix2pix.initialise(network)
        for precision in GAN_PRECISIONS:
            ours = _gan_step(training.GanSettings(
                ngf=width, ndf=width, depth=depth, accelerator="cpu", precision=precision
            ))  # fmt: skip
            what = f"GAN step, {size} x {size}, ngf {width}, {precision}"
            yield (
                what, lambda ours=ours, pair=(magnitude, target): ours(pair), "pix2pix, float32",
                lambda step=original.step, pair=(magnitude, target): step(*pair), turns,
            )  # fmt: skip


def _gan_step(settings: training.GanSettings) -> Callable[[tuple], object]:
    fabric = Fabric(accelerator="cpu", precision=settings.precision)  # type: ignore[arg-type]
    parts = []
    for network in (
        settings.architecture.build(),
        pix2pix.PatchDiscriminator(2, settings.ndf),
    ):
        pix2pix.initialise(network)
        parts.append(fabric.setup(network, steps.adam(network, settings)))
    (g, g_adam), (d, d_adam) = parts
    return lambda pair: steps.train_step(fabric, g, d, g_adam, d_adam, pair, settings)


def end_to_end_steps(n_coils: int = 16, ny: int = 320, nx: int = 320) -> Iterator[Row]:
    kspace, mask = _undersampled(n_coils, ny, nx)
    stock, fast = VarNet(12, 8, 4, 18, 4), EndToEndVarNet(12, 8, 4, 18, 4)
    fast.load_state_dict(stock.state_dict())
    real, columns = torch.view_as_real(kspace)[None], mask.columns.view(1, 1, 1, -1, 1)

    def ours() -> None:
        _learn(fast, fast(kspace, mask.columns, mask.n_center))

    def theirs() -> None:
        _learn(stock, stock(real, columns, mask.n_center))

    what = f"end-to-end VarNet, 12 cascades, {n_coils} x {ny} x {nx}"
    yield what, ours, "fastmri.models.VarNet", theirs, 1


def unrolled_steps(n_coils: int = 8, ny: int = 96, nx: int = 80) -> Iterator[Row]:
    """The demo's network, its sparse start included, and fastMRI's cascades with given maps."""
    kspace, mask = _undersampled(n_coils, ny, nx)
    maps = torch.randn(kspace.shape, dtype=kspace.dtype, generator=torch.Generator().manual_seed(2))
    maps = maps / arrays.rss(maps)
    sample = kspace[None], mask.columns[None], maps[None], mask.n_center
    for cascades in (1, 3):
        unrolled = networks.NetworkSettings(
            network=networks.UNROLLED, cascades=cascades, chans=24, fine_chans=12
        ).build()
        unrolled = unrolled.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        cascaded = networks.GivenMapsVarNet(cascades, chans=18, pools=4)
        yield (
            f"unrolled, {cascades} U-Nets, {n_coils} x {ny} x {nx}",
            lambda network=unrolled: _learn(network, network(*sample)),
            f"{cascades} cascades of fastMRI",
            lambda network=cascaded: _learn(network, network(*sample)),
            10,
        )


def _undersampled(n_coils: int, ny: int, nx: int) -> tuple[torch.Tensor, masks.Mask]:
    mask = masks.equispaced(nx, 4, seed=1)
    draw = torch.Generator().manual_seed(1)
    kspace = torch.randn(n_coils, ny, nx, dtype=torch.complex64, generator=draw)
    return kspace * mask.columns, mask


def _learn(network: torch.nn.Module, image: torch.Tensor) -> None:
    """Gradients of some loss; the optimiser's step is the same for both."""
    network.zero_grad()
    image.square().mean().backward()


ROWS: tuple[Callable[[], Iterator[Row]], ...] = (
    gan_steps,
    end_to_end_steps,
    unrolled_steps,
)


def report() -> None:
    """Print every row with each number of threads, then the peak memory."""
    before = torch.get_num_threads()
    native = torch.cpu._is_avx512_bf16_supported()
    print(f"this processor {'computes' if native else 'only emulates'} bfloat16")
    try:
        for rows in ROWS:
            for what, ours, peer, theirs, turns in rows():
                for threads in THREADS:
                    torch.set_num_threads(threads)
                    duel = interleaved(ours, theirs, turns)
                    print(
                        f"{what:52s} {threads} threads {duel.ours:8.3f} s   "
                        f"{peer:22s} {duel.theirs:8.3f} s   x {duel.ratio:.2f}   on the wall "
                        f"{duel.ours_wall:.3f} s, {duel.theirs_wall:.3f} s, "
                        f"x {duel.theirs_wall / duel.ours_wall:.2f}",
                        flush=True,
                    )
    finally:
        torch.set_num_threads(before)
    for checkpointing in (False, True):
        print(peak_memory(checkpointing), flush=True)


def peak_memory(checkpointing: bool, shape: tuple[int, int, int] = (20, 640, 320)) -> str:
    """Peak memory of one step with Adam in a process of its own, as a line of text."""
    module = "tests.benchmarks.training_steps"
    command = [sys.executable, "-m", module, str(int(checkpointing)), *map(str, shape)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    size = " x ".join(map(str, shape))
    how = "with" if checkpointing else "without"
    return f"end-to-end VarNet, 12 cascades, {size}, {how} checkpointing: {done.stdout.strip()}"


def _one_step(checkpointing: bool, shape: list[int]) -> None:
    network = EndToEndVarNet(12, 8, 4, 18, 4, checkpointing=checkpointing)
    adam = torch.optim.Adam(network.parameters(), 3e-4, fused=True)
    kspace, mask = _undersampled(*shape)
    _learn(network, network(kspace, mask.columns, mask.n_center))
    adam.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux
    print(f"peak memory {peak:.2f} GiB, packages included")


if __name__ == "__main__":
    if len(sys.argv) == 5:
        _one_step(bool(int(sys.argv[1])), [int(word) for word in sys.argv[2:]])
    else:
        report()
