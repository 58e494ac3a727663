"""Archives of one complex volume, as each vendor and converter would store its phase."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import torch
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, generate_uid
from torch import Tensor

from synthlib.formats import dicom
from synthlib.records import ImageVolume

PI = math.pi


def write_dicom_phase(
    folder: Path,
    volume: ImageVolume,
    components: Mapping[str, np.ndarray],
    *,
    describe: Callable[[Dataset, str], None],
    one_series: bool = False,
    person: str = "",
) -> None:
    """Magnitudes, and beside each the whole numbers (slice, y, x) of further components.

    Args:
        describe: writes what the vendor's header says of a component into an image.
    """
    texts = {"PatientID": person or folder.name, "SeriesDescription": "gre"}
    paths = dicom.write_series(folder, volume, texts)
    uids = {name: generate_uid(entropy_srcs=[folder.name, name]) for name in components}
    for index, path in enumerate(paths):
        for number, (name, stored) in enumerate(components.items(), start=2):
            image = pydicom.dcmread(path)
            image.SOPInstanceUID = generate_uid(entropy_srcs=[folder.name, name, str(index)])
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            if not one_series:
                image.SeriesInstanceUID, image.SeriesNumber = uids[name], number
            image.InstanceNumber = 100 * number + len(paths) - index
            image.BitsStored, image.HighBit = 16, 15
            image.PixelRepresentation = int(stored.min() < 0)
            image.PixelData = stored[index].astype("<i2" if stored.min() < 0 else "<u2").tobytes()
            describe(image, name)
            image.save_as(path.with_name(f"{path.name}_{name}"))


def siemens(image: Dataset, name: str) -> None:
    image.Manufacturer, image.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "P", "ND"]
    image.BitsStored, image.HighBit = 12, 11
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 2, -4096, "US"


def siemens_plain(image: Dataset, name: str) -> None:
    siemens(image, name)
    for word in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(image, word)


def philips(image: Dataset, name: str) -> None:
    image.Manufacturer = "Philips Medical Systems"
    image.ImageType = ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]
    image.BitsStored, image.HighBit = 12, 11
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "1.5346", "-3142", "mrad"


def philips_private(image: Dataset, name: str) -> None:
    philips(image, name)
    for word in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(image, word)
    image.add_new((0x2005, 0x0010), "LO", "Philips MR Imaging DD 001")
    image.add_new((0x2005, 0x100D), "FL", 2047.5)
    image.add_new((0x2005, 0x100E), "FL", 4095 / (2 * PI))


def ge(image: Dataset, name: str) -> None:
    image.Manufacturer, image.ImageType = "GE MEDICAL SYSTEMS", ["ORIGINAL", "PRIMARY", "OTHER"]
    image.add_new((0x0043, 0x0010), "LO", "GEMS_PARM_01")
    image.add_new((0x0043, 0x102F), "SS", {"phase": 1, "real": 2, "imaginary": 3}[name])


def whole(values: Tensor) -> np.ndarray:
    return values.round().numpy(force=True).astype(np.int64)


def write_enhanced(path: Path, volume: ImageVolume, phase: Tensor) -> None:
    """One file whose frames are magnitudes and phases in turn, the last slice first."""
    folder = path.parent / f"{path.name}_plain"
    first = pydicom.dcmread(dicom.write_series(folder, volume, {"PatientID": path.stem})[0])
    plain = [pydicom.dcmread(p) for p in sorted(folder.iterdir())]
    frames, pixels = [], []

    def sequence(**values: object) -> Sequence:
        item = Dataset()
        for word, value in values.items():
            setattr(item, word, value)
        return Sequence([item])

    for index in reversed(range(len(plain))):
        for code, part in (("M", "MAGNITUDE"), ("P", "PHASE")):
            frame = Dataset()
            frame.PlanePositionSequence = sequence(
                ImagePositionPatient=plain[index].ImagePositionPatient
            )
            frame.MRImageFrameTypeSequence = sequence(
                FrameType=["ORIGINAL", "PRIMARY", "T1", code], ComplexImageComponent=part
            )
            slope, intercept = (1, 0) if code == "M" else ("1.5346", "-3142")
            frame.PixelValueTransformationSequence = sequence(
                RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US"
            )
            if code == "P":
                frame.RealWorldValueMappingSequence = sequence(
                    RealWorldValueSlope=1.5346,
                    RealWorldValueIntercept=-3142.0,
                    MeasurementUnitsCodeSequence=sequence(CodeValue="mrad"),
                )
            frames.append(frame)
            stored = whole((1000 * phase[index] + 3142) / 1.5346).clip(0, 4095)
            pixels.append(plain[index].pixel_array if code == "M" else stored.astype("<u2"))
        folder.joinpath(sorted(p.name for p in folder.iterdir())[-1]).unlink()
    folder.rmdir()
    first.SOPClassUID = first.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    first.SharedFunctionalGroupsSequence = sequence(
        PixelMeasuresSequence=sequence(
            PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness
        ),
        PlaneOrientationSequence=sequence(ImageOrientationPatient=first.ImageOrientationPatient),
        MREchoSequence=sequence(EffectiveEchoTime=volume.facts["te_ms"]),
    )
    first.PerFrameFunctionalGroupsSequence, first.NumberOfFrames = Sequence(frames), len(frames)
    for word in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EchoTime"):
        delattr(first, word)
    first.PixelData = np.stack(pixels).astype("<u2").tobytes()
    first.save_as(path)


def write_nifti(path: Path, values: Tensor, sidecar: Mapping[str, object] | None = None) -> Path:
    """Any numbers (slice, y, x) of axial slices of 3 x 3 x 10 mm, as nifti.write stores them."""
    stored = values.numpy(force=True)[:, ::-1, ::-1].transpose(2, 1, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.ascontiguousarray(stored), np.diag([3.0, 3.0, 10.0, 1.0]))
    nibabel.save(image, path)
    if sidecar is not None:
        path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json").write_text(
            json.dumps(sidecar)
        )
    return path


def write_all(folder: Path, volume: ImageVolume, phase: Tensor) -> list[str]:
    """One folder a kind; its name is the kind's."""
    twelve = whole((phase / PI * 4096 + 4096) / 2).clip(0, 4095)
    for kind, describe in {"siemens": siemens, "siemens_plain": siemens_plain}.items():
        write_dicom_phase(folder / kind, volume, {"phase": twelve}, describe=describe)
    mrad = whole((1000 * phase + 3142) / 1.5346).clip(0, 4095)
    write_dicom_phase(
        folder / "philips", volume, {"phase": mrad}, describe=philips, one_series=True
    )
    own = whole(phase * 4095 / (2 * PI) + 2047.5).clip(0, 4095)
    write_dicom_phase(
        folder / "philips_private", volume, {"phase": own}, describe=philips_private,
        one_series=True,
    )  # fmt: skip
    image = torch.polar(volume.magnitude / volume.magnitude.max() * 30000, phase)
    write_dicom_phase(
        folder / "ge", volume, {"real": whole(image.real), "imaginary": whole(image.imag)},
        describe=ge, one_series=True,
    )  # fmt: skip
    write_dicom_phase(folder / "ge_phase", volume, {"phase": whole(1000 * phase)}, describe=ge)
    (folder / "enhanced").mkdir(parents=True)
    write_enhanced(folder / "enhanced" / "enhanced", volume, phase)

    write_nifti(folder / "complex" / "a_T1.nii.gz", image)
    bids = folder / "bids" / "sub-b" / "anat"
    write_nifti(bids / "sub-b_part-mag_T2w.nii.gz", volume.magnitude)
    write_nifti(bids / "sub-b_part-phase_T2w.nii.gz", phase, {"Units": "rad"})
    write_nifti(folder / "parts" / "c_part-real_T1.nii", image.real)
    write_nifti(folder / "parts" / "c_part-imag_T1.nii", image.imag)
    write_nifti(folder / "dcm2niix" / "d_e1.nii", volume.magnitude)
    vendor = (phase / PI * 4096).round().clamp(-4096, 4094).to(torch.int16)
    write_nifti(folder / "dcm2niix" / "d_e1_ph.nii", vendor, {"ImageType": ["ORIGINAL", "P"]})
    write_nifti(folder / "dcm2niix_parts" / "e.nii", volume.magnitude)
    write_nifti(folder / "dcm2niix_parts" / "e_real.nii", image.real)
    write_nifti(folder / "dcm2niix_parts" / "e_imaginary.nii", image.imag)
    moment = {"EchoTime": 0.1, "AcquisitionTime": "10:11:12.000"}
    write_nifti(folder / "numbers" / "4_gre.nii", volume.magnitude, moment)
    write_nifti(folder / "numbers" / "5_gre.nii", phase, moment | {"ImageType": ["P"]})
    return sorted(path.name for path in folder.iterdir())
