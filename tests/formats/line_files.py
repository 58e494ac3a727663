"""Files of single lines as scanners' converters write them: MRD by the ismrmrd package, and what
k-space they hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from synthlib import formats
from synthlib.records import RawVolume

with warnings.catch_warnings():
    import ismrmrd

XML = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<subjectInformation><patientID>p-17</patientID></subjectInformation>
<measurementInformation><patientPosition>HFS</patientPosition>
<protocolName>AXT2 tse</protocolName></measurementInformation>
<acquisitionSystemInformation><systemVendor>nobody</systemVendor>
<systemFieldStrength_T>1.5</systemFieldStrength_T>
<relativeReceiverNoiseBandwidth>{bandwidth}</relativeReceiverNoiseBandwidth>
<receiverChannels>{n_coils}</receiverChannels></acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>63870000</H1resonanceFrequency_Hz>
</experimentalConditions>
<encoding><encodedSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>{partitions}</z></matrixSize>
<fieldOfView_mm><x>{fov_x}</x><y>{fov_y}</y><z>{fov_z}</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{recon[0]}</x><y>{recon[1]}</y><z>{recon[2]}</z></matrixSize>
<fieldOfView_mm><x>{recon_fov[0]}</x><y>{recon_fov[1]}</y><z>{recon_fov[2]}</z></fieldOfView_mm>
</reconSpace><encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum>
<center>{centre}</center></kspace_encoding_step_1>
<kspace_encoding_step_2><minimum>0</minimum><maximum>{last_z}</maximum><center>{centre_z}</center>
</kspace_encoding_step_2></encodingLimits><trajectory>{trajectory}</trajectory></encoding>
<sequenceParameters><TR>3200</TR><TE>92.5</TE></sequenceParameters></ismrmrdHeader>"""


@dataclass
class Line:
    """One readout: samples (coil, sample), where it belongs, and its flags by their names."""

    data: np.ndarray
    counters: dict[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    head: dict[str, object] = field(default_factory=dict)


def random_kspace(shape: tuple[int, ...], seed: int = 5) -> np.ndarray:
    """Complex64, every sample another one."""
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *shape)).astype(np.float32)
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def kspace_lines(
    kspace: np.ndarray, columns: Iterable[int] | None = None, first: int = 0, **head: object
) -> list[Line]:
    """Every line of (slice, coil, ky, kx), slices interleaved, as a scanner measures them.

    Args:
        columns: of kx that are measured; first: the column whose counter is 0.
    """
    n_slices, _, rows, n_columns = kspace.shape
    lines = []
    for column in range(n_columns) if columns is None else columns:
        for index in range(n_slices):
            place = {"position": (0.0, 0.0, 5.0 * index), "slice_dir": (0.0, 0.0, 1.0)}
            lines.append(
                Line(
                    kspace[index, :, :, column],
                    {"slice": index, "kspace_encode_step_1": column - first},
                    head={"center_sample": rows // 2, **place, **head},
                )
            )
    return lines


def write_mrd(
    path: Path,
    lines: list[Line],
    matrix: tuple[int, int, int],
    *,
    recon: tuple[int, int, int] | None = None,
    centre: int | None = None,
    trajectory: str = "cartesian",
    bandwidth: float = 1.0,
    pixel_mm: tuple[float, float, float] = (0.9, 1.1, 4.0),
    group: str = "dataset",
    xml: str | None = None,
) -> Path:
    """An MRD file by the ismrmrd package."""
    rows, columns, partitions = matrix
    recon = recon or matrix
    fov = [n * mm for n, mm in zip(matrix, pixel_mm, strict=True)]
    text = XML.format(
        bandwidth=bandwidth, n_coils=len(lines[0].data), rows=rows, columns=columns,
        partitions=partitions, fov_x=fov[0], fov_y=fov[1], fov_z=fov[2], recon=recon,
        recon_fov=[n * mm for n, mm in zip(recon, pixel_mm, strict=True)],
        last=columns - 1, centre=columns // 2 if centre is None else centre,
        last_z=partitions - 1, centre_z=partitions // 2, trajectory=trajectory,
    )  # fmt: skip
    file = ismrmrd.Dataset(path, group, create_if_needed=True)
    file.write_xml_header((xml or text).encode())
    for line in lines:
        acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(line.data))
        for name, value in line.head.items():
            current = getattr(acquisition, name)
            if isinstance(value, tuple):
                current[:] = value
            else:
                setattr(acquisition, name, value)
        for name, value in line.counters.items():
            setattr(acquisition.idx, name, value)
        for name in line.flags:
            acquisition.set_flag(getattr(ismrmrd, f"ACQ_{name}"))
        file.append_acquisition(acquisition)
    file.close()
    return path


def image_by_numpy(kspace: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> np.ndarray:
    """The centred, orthonormal inverse FFT, by NumPy."""
    image = np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho")
    return np.fft.fftshift(image, axes)


def read(path: Path, **options: object) -> RawVolume:
    """The volume of a file whose notes do not matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return formats.read_raw(path, **options)


def whole(volume: RawVolume) -> np.ndarray:
    """All of its k-space, (slice, coil, ky, kx)."""
    return np.stack([volume.kspace[index].numpy() for index in range(volume.n_slices)])
