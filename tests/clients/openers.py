"""How stock clients open one of our files and reconstruct it, at their defaults.

Each function takes a path and gives the magnitude (slice, y, x) that the client makes of
it, in the axes of the magnitude that the file was made of: a client that calls the phase
encoding y (MRD's convention) is transposed here, as its user would for display, and
nothing else is done to what it gives. Nothing of synthlib is used.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np

BART, ISMRMRD_TOOL = "bart", "ismrmrd_recon_cartesian_2d"


# --- fastMRI's HDF5 layout -----------------------------------------------------------


def by_fastmri(path: Path) -> np.ndarray:
    """SliceDataset, inverse FFT, root sum of squares and its own centre crop."""
    import fastmri
    from fastmri.data import SliceDataset, transforms

    folder = alone(path)
    images = []
    for kspace, _, target, attributes, *_ in SliceDataset(folder, challenge="multicoil"):
        coils = fastmri.complex_abs(fastmri.ifft2c(transforms.to_tensor(kspace)))
        image = transforms.center_crop(fastmri.rss(coils), attributes["recon_size"][:2])
        assert tuple(image.shape) == target.shape
        images.append(image.numpy())
    return np.stack(images)


def by_monai(path: Path) -> np.ndarray:
    """The transforms of MONAI's fastMRI tutorial: FastMRIReader, inverse FFT, RSS, its crop."""
    from monai.apps.reconstruction.complex_utils import complex_abs, convert_to_tensor_complex
    from monai.apps.reconstruction.fastmri_reader import FastMRIReader
    from monai.apps.reconstruction.mri_utils import root_sum_of_squares
    from monai.apps.reconstruction.transforms.dictionary import (
        ExtractDataKeyFromMetaKeyd,
        ReferenceBasedSpatialCropd,
    )
    from monai.networks.blocks.fft_utils_t import ifftn_centered_t
    from monai.transforms import Compose, LoadImaged

    load = Compose(
        [
            LoadImaged(keys=["kspace"], reader=FastMRIReader, image_only=False, dtype=np.complex64),
            ExtractDataKeyFromMetaKeyd(["reconstruction_rss"], meta_key="kspace_meta_dict"),
        ]
    )
    sample = load({"kspace": str(path)})
    kspace = convert_to_tensor_complex(sample["kspace"])  # (slice, coil, y, x, 2)
    image = root_sum_of_squares(complex_abs(ifftn_centered_t(kspace, spatial_dims=2)), 1)
    crop = ReferenceBasedSpatialCropd(["image"], ref_key="target")
    cropped = crop({"image": image, "target": sample["reconstruction_rss"]})
    return np.asarray(cropped["image"])


def by_deepinv(path: Path) -> np.ndarray:
    """FastMRISliceDataset, MultiCoilMRI's adjoint with its root sum of squares, and its crop."""
    import torch
    from deepinv.datasets import FastMRISliceDataset
    from deepinv.physics import MultiCoilMRI

    images = []
    for target, kspace in FastMRISliceDataset(alone(path)):
        n_coils, rows, columns = kspace.shape[-3:]
        maps = torch.ones(1, n_coils, rows, columns, dtype=torch.complex64)  # not used by the RSS
        physics = MultiCoilMRI(mask=torch.ones(1, 1, rows, columns), coil_maps=maps)
        image = physics.crop(physics.A_adjoint(kspace[None], rss=True), shape=target.shape)
        images.append(image[0, 0].numpy())
    return np.stack(images)


def by_sigpy(path: Path) -> np.ndarray:
    """h5py, SigPy's centred inverse FFT, root sum of squares and resize."""
    import sigpy

    with h5py.File(path) as file:
        kspace, shape = file["kspace"][()], file["reconstruction_rss"].shape
    images = sigpy.ifft(kspace, axes=(-2, -1))
    return sigpy.resize(sigpy.rss(images, axes=(1,)), shape)


# --- MRD -----------------------------------------------------------------------------


def by_mrpro(path: Path) -> np.ndarray:
    """KData as the file's only data set, DirectReconstruction of the coils, RSS."""
    from mrpro.algorithms.reconstruction import DirectReconstruction
    from mrpro.data import KData
    from mrpro.data.traj_calculators import KTrajectoryCartesian

    kdata = KData.from_file(path, KTrajectoryCartesian())
    image = DirectReconstruction(kdata, csm=None)(kdata).rss()  # (slice, z, y, x)
    return image[:, 0].numpy().swapaxes(-1, -2)


def by_ismrmrd_tool(path: Path) -> np.ndarray:
    """The C++ library's example on a file of one slice; it adds its image to the file."""
    copy = path.with_name(f"tool-{path.name}")
    shutil.copy(path, copy)
    subprocess.run([ISMRMRD_TOOL, str(copy)], check=True, capture_output=True)
    with h5py.File(copy) as file:
        image = file["dataset/cpp/data"][()]
    copy.unlink()
    return np.abs(image[:, 0, 0]).swapaxes(-1, -2)


def by_server_rules(path: Path) -> np.ndarray:
    """What python-ismrmrd-server does with a file, by reading its client.py and invertcontrast.py.

    It has no release to install, so its rules are said again here: its client gives up unless
    there is exactly one group; its default module passes calibration lines by, puts the others
    at their phase encoding step in a matrix of the encoded size, turns k-space over, and crops
    the root sum of squares from (N - n) // 2. The turning moves pixel p to N - p, which is undone
    before the crop.
    """
    import ismrmrd
    import ismrmrd.xsd

    with h5py.File(path) as file:
        (group,) = file.keys()
    with ismrmrd.Dataset(path, group, create_if_needed=False) as file:
        encoding = ismrmrd.xsd.CreateFromDocument(file.read_xml_header()).encoding[0]
        lines = [file.read_acquisition(n) for n in range(file.number_of_acquisitions())]
    calibration = ("NOISE_MEASUREMENT", "PARALLEL_CALIBRATION", "PHASECORR_DATA", "NAVIGATION_DATA")
    flags = [getattr(ismrmrd, f"ACQ_IS_{name}") for name in calibration]
    lines = [line for line in lines if not any(line.is_flag_set(flag) for flag in flags)]
    assert lines[-1].is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)  # what it waits for
    encoded, recon = encoding.encodedSpace.matrixSize, encoding.reconSpace.matrixSize
    shape = (max(line.idx.slice for line in lines) + 1, len(lines[0].data), encoded.y, encoded.x)
    kspace = np.zeros(shape, np.complex64)
    for line in lines:
        kspace[line.idx.slice, :, line.idx.kspace_encode_step_1] = line.data
    axes = (-2, -1)
    turned = np.fft.fftshift(np.flip(kspace, axes), axes)
    image = np.sqrt((np.abs(np.fft.ifftshift(np.fft.ifftn(turned, axes=axes), axes)) ** 2).sum(1))
    image = np.roll(np.flip(image, axes), 1, axes)
    starts = [(n - m) // 2 for n, m in ((encoded.y, recon.y), (encoded.x, recon.x))]
    image = image[:, starts[0] : starts[0] + recon.y, starts[1] : starts[1] + recon.x]
    return image.swapaxes(-1, -2)


# --- BART's cfl ----------------------------------------------------------------------


def by_bart(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """`bart fft -i -u`, `rss`, `resize -c`, on the pair of files of one scan."""
    stem, sizes = path.with_suffix(""), [str(n) for n in shape]
    coils, image, cropped = (f"{stem}-{name}" for name in ("coils", "image", "cropped"))
    steps = [
        ["fft", "-i", "-u", "3", str(stem), coils],
        ["rss", "8", coils, image],
        ["resize", "-c", "0", sizes[0], "1", sizes[1], image, cropped],
    ]
    for step in steps:
        subprocess.run([BART, *step], check=True, capture_output=True)
    magnitude = _cfl(Path(cropped))
    for made in stem.parent.glob(stem.name + "-*"):
        made.unlink()
    return magnitude


def _cfl(stem: Path) -> np.ndarray:
    sizes = [int(n) for n in stem.with_suffix(".hdr").read_text().splitlines()[1].split()]
    values = np.fromfile(stem.with_suffix(".cfl"), np.complex64).reshape(sizes, order="F")
    return np.abs(values).squeeze((2, 3, *range(4, 13), 14, 15)).transpose(2, 0, 1)


def alone(path: Path) -> Path:
    """A folder with this file and no other: clients open all that is in a folder."""
    folder = path.parent / f"only-{path.stem}"
    folder.mkdir(exist_ok=True)
    if not (folder / path.name).exists():
        shutil.copy(path, folder)
    return folder
