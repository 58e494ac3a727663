"""Files of other formats are named as what they are; DICOM packed with gzip is read."""

from __future__ import annotations

import gzip
import re

import h5py
import nibabel
import numpy as np
import pytest
import samples
import torch

from synthlib import archive

VALUES = samples.head_values()


def find(*inputs) -> archive.Found:
    return archive.find(inputs, salt=b"salt of a test")


def save(kind: str):
    """Writer of an image by nibabel."""
    return lambda path: nibabel.save(getattr(nibabel, kind)(VALUES, np.eye(4)), path)


def text(content: bytes):
    return lambda path: path.write_bytes(content)


def hdf5(*groups: str):
    def write(path):
        with h5py.File(path, "w") as file:
            for name in groups:
                file.create_group(name)

    return write


FILES = {
    "a.hdr": (save("AnalyzeImage"), "an Analyze 7.5 image"),
    "a.mgh": (save("MGHImage"), r"a FreeSurfer image \(MGH, MGZ\)"),
    "a.mgz": (save("MGHImage"), r"packed with gzip, a FreeSurfer image \(MGH, MGZ\)"),
    "a.mnc": (text(b"CDF\x01" + bytes(60)), r"a MINC image \(MINC 1\)"),
    "b.mnc": (hdf5("minc-2.0"), r"a MINC image \(MINC 2\)"),
    "a.nrrd": (text(b"NRRD0004\ntype: short\n"), "an NRRD image"),
    "a.mhd": (text(b"ObjectType = Image\nNDims = 3\n"), "a MetaImage"),
    "visu_pars": (text(b"##TITLE=Parameter List, ParaVision 6.0.1\n"), "Bruker ParaVision"),
    "2dseq": (text(bytes(range(8)) * 9), "Bruker ParaVision"),
    "a.PAR": (text(b"# === DATA DESCRIPTION FILE ====\n#\n"), "header of a Philips PAR/REC"),
    "a.REC": (text(bytes(range(8)) * 9), "voxels of a Philips PAR/REC image"),
    "a.HEAD": (text(b"\ntype  = string-attribute\nname  = TYPESTRING\n"), "AFNI image"),
    "a.mat": (text(b"MATLAB 5.0 MAT-file, Platform: GLNXA64"), "a MATLAB file"),
    "scan.h5": (hdf5("dataset"), r"raw data of ISMRMRD \(MRD\)"),
    "a.pdf": (text(b"%PDF-1.7\n"), "a PDF document"),
    "a.tif": (text(b"II*\0" + bytes(8)), "a TIFF picture"),
    "notes.txt": (text(b"seen by nobody\n"), "of no image format that synthlib reads"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_format_is_named_and_is_not_called_damaged(tmp_path, name):
    write, reason = FILES[name]
    write(tmp_path / name)
    found = find(tmp_path)
    (aside,) = found.set_aside
    assert not found.series and aside.n_files == 1
    assert re.search(reason, aside.reason), aside.reason
    for word in ("damaged", "truncated", "again", name):
        assert word not in aside.reason


def test_a_series_packed_with_gzip_is_the_plain_series(tmp_path):
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    samples.write_series(plain)
    packed.mkdir()
    for path in plain.iterdir():
        (packed / f"{path.name}.dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
    volumes = [archive.read(find(folder).series[0]) for folder in (plain, packed)]
    torch.testing.assert_close(volumes[0].magnitude, volumes[1].magnitude, rtol=0, atol=0)
    assert volumes[0].facts == volumes[1].facts and volumes[1].n_slices == 4


def test_a_packed_file_that_was_cut_off_says_so(tmp_path):
    samples.write_series(tmp_path / "in", 1)
    (path,) = (tmp_path / "in").iterdir()
    (tmp_path / "x.dcm.gz").write_bytes(gzip.compress(path.read_bytes(), 0)[:-40])
    (aside,) = find(tmp_path / "x.dcm.gz").set_aside
    assert aside.reason == "a gzip file that is truncated; copy it again"


def test_raw_data_of_bart_are_named_once_for_the_pair(tmp_path):
    (tmp_path / "scan.hdr").write_text("# Dimensions\n9 8 1 3\n")
    (tmp_path / "scan.cfl").write_bytes(bytes(8 * 9 * 8 * 3))
    (aside,) = find(tmp_path).set_aside
    assert aside.reason == "raw data of BART; expected magnitude images" and aside.n_files == 1
