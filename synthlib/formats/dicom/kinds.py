"""Which DICOM objects are no magnitude images of slices, and how that is said.

DERIVED alone is no reason: anonymisers, converters and corrections on the
scanner write it, too. Computed maps, projections and reformatted images are
told by the codes that follow.
"""

from __future__ import annotations

import re

from synthlib.formats import words
from synthlib.formats.dicom.header import Header
from synthlib.formats.phase import DIFFERENCE, Component
from synthlib.formats.refusals import OtherKind, Refusal

STORAGE = "1.2.840.10008.5.1.4.1.1."
MR = {f"{STORAGE}4", f"{STORAGE}4.1", f"{STORAGE}4.4"}  # plain, enhanced, legacy converted
DICOMDIR = "1.2.840.10008.1.3.10"
OBJECTS = (  # beginnings of SOP class UIDs; the first that fits is told
    (f"{STORAGE}7", "a secondary capture (a picture of a screen)"),
    (f"{STORAGE}66.4", "a segmentation (SEG)"),
    (f"{STORAGE}66.7", "a parametric map"),
    (f"{STORAGE}66", "raw data or a registration, not images"),
    (f"{STORAGE}88", "a structured report (SR)"),
    (f"{STORAGE}11", "a presentation state (PR)"),
    (f"{STORAGE}104", "an encapsulated document"),
    (f"{STORAGE}481", "a radiotherapy object (RT)"),
    (f"{STORAGE}4.2", "MR spectroscopy"),
    (f"{STORAGE}4.3", "a colour image"),
)
MODALITIES = {
    "CT", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "OT", "SC", "SR", "PR", "SEG", "KO",
    "DOC", "REG", "RWV", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "ECG", "ES", "OP", "OCT",
}  # fmt: skip
VELOCITY = {"VELOCITY", "VELOCITY MAP", "P_PCA"}
COMPONENTS: dict[str, Component] = {
    "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "P_FFE": "phase", "P_SE": "phase",
    "P_IR": "phase",
    "R": "real", "REAL": "real", "R_FFE": "real", "R_IR": "real", "R_SE": "real",
    "I": "imaginary", "IMAGINARY": "imaginary", "I_FFE": "imaginary", "I_IR": "imaginary",
    "I_SE": "imaginary",
}  # fmt: skip
GE_COMPONENTS: dict[int, Component] = {1: "phase", 2: "real", 3: "imaginary"}
# Siemens' sequence for maps of the field: its phase images are differences of two echoes, whatever
# their codes say.
DIFFERENCE_SEQUENCE = "FM2D"
# Siemens' sequences with flow encoding tell its velocity, for example *fl2d1_v150in.
FLOW_SEQUENCE = re.compile(r"_V\d+")
OF_VELOCITY = "a map of velocity (phase contrast), no phase of a magnitude"
FILTERED = "pha images"  # Siemens' name for the phase of SWI, its slow changes taken out
PHILIPS_PART = (0x2005, 0x1011)
MOSAIC = {"MOSAIC"}
SCOUTS = {"LOCALIZER", "SCOUT", "SURVEY"}
COMPUTED = {
    "ADC": "a map of diffusion (ADC)", "EADC": "a map of diffusion (ADC)",
    "FA": "a map of diffusion (FA)", "COLFA": "a map of diffusion (FA)",
    "TENSOR": "a map of diffusion", "TRACEW": "a mean of diffusion weightings (trace)",
    "MPR": "reformatted (MPR)", "CSA MPR": "reformatted (MPR)", "REFORMATTED": "reformatted (MPR)",
    "MIP": "a projection (MIP)", "MINIP": "a projection (MinIP)", "MNIP": "a projection (MinIP)",
    "PROJECTION IMAGE": "a projection", "MAX_IP": "a projection (MIP)",
    "MIN_IP": "a projection (MinIP)", "VRT": "a rendering", "SSD": "a rendering",
    "VOLUME RENDERING": "a rendering", "SCREEN SAVE": "a picture of a screen",
    "SUBTRACTION": "a difference of images", "SUB": "a difference of images",
    "CBF": "a map of perfusion", "CBV": "a map of perfusion", "RELCBF": "a map of perfusion",
    "RELCBV": "a map of perfusion", "RELMTT": "a map of perfusion", "MTT": "a map of perfusion",
    "TTP": "a map of perfusion", "GBP": "a map of perfusion", "PBP": "a map of perfusion",
    "T1 MAP": "a map of relaxation", "T2 MAP": "a map of relaxation",
    "T1_MAP": "a map of relaxation", "T2_MAP": "a map of relaxation",
    "T2_STAR MAP": "a map of relaxation", "T2_STAR_MAP": "a map of relaxation",
    "R2 MAP": "a map of relaxation", "R2_MAP": "a map of relaxation",
    "R2_STAR_MAP": "a map of relaxation", "B0 MAP": "a map of the field",
    "B0_MAP": "a map of the field", "FIELD_MAP": "a map of the field",
    "B1 MAP": "a map of the field", "T_TEST": "a statistical map", "ZSCORE": "a statistical map",
    "STATISTICS": "a statistical map",
    "ADC_UNSPECIFIED": "a map of diffusion (ADC)", "ADC MAP": "a map of diffusion (ADC)",
    "FRACTIONAL_ANISOTROPY": "a map of diffusion (FA)", "ANISOTROPY": "a map of diffusion (FA)",
    "MEAN_DIFFUSIVITY": "a map of diffusion", "R1 MAP": "a map of relaxation",
    "R1_MAP": "a map of relaxation", "R2_STAR MAP": "a map of relaxation",
    "RHO MAP": "a map of proton density", "B1_MAP": "a map of the field",
    "SUBTRACT": "a difference of images", "RCBF": "a map of perfusion",
    "RCBV": "a map of perfusion", "TMAX": "a map of perfusion", "KTRANS": "a map of perfusion",
    "FAT_FRACTION": "a map of fat", "FATFRACTION": "a map of fat", "FF": "a map of fat",
    "GFACTOR": "a g-factor map", "G_FACTOR": "a g-factor map", "G-FACTOR": "a g-factor map",
    "STIFFNESS": "a map of elastography",
    "UNI": "a ratio of images (MP2RAGE UNI)", "SWI": "magnitude times a mask of phase (SWI)",
    "QSM": "a map of susceptibility (QSM)",
}  # fmt: skip
# Codes that may be repeated to the outside.
CODES = frozenset(
    {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "OTHER", "M", "MAGNITUDE", "NORM", "ND",
     "DIS2D", "DIS3D", "FM", "FIL", "FILTERED", "MFSPLIT", "SE", "FFE", "IR", "M_SE", "M_FFE",
     "M_IR", "PSN", "WATER", "FAT", "W", "F", "IN_PHASE", "OUT_PHASE", "OPP_PHASE", "IP", "OP",
     "MIXED", "VOLUME",
     "SINGLE", "NONE", "DIFFUSION", "MEAN", "SH", "FSL", "CC", "ADD", "DFC", "CHEMICAL_SHIFT"}
)  # fmt: skip


def refuse_file(header: Header) -> None:
    """Raise the Refusal of a file that holds no MR images."""
    sop, modality = header.text("SOPClassUID"), (header.codes("Modality") or [""])[0]
    if sop == DICOMDIR or "DirectoryRecordSequence" in header:
        raise OtherKind("a DICOMDIR (an index); the images that it lists are read by themselves")
    for beginning, what in OBJECTS:
        if sop == beginning or sop.startswith(f"{beginning}."):
            raise OtherKind(f"{what}; expected MR images")
    if sop not in MR and modality != "MR":
        if not sop and not modality:
            raise Refusal("a DICOM header that tells no modality; it is damaged, or no image")
        what = modality if modality in MODALITIES else "another"
        raise OtherKind(f"of modality {what}; expected MR images")
    if modality not in ("MR", ""):
        what = modality if modality in MODALITIES else "another"
        raise OtherKind(f"of modality {what}; expected MR images")
    samples, colours = header.whole("SamplesPerPixel", 1), header.text("PhotometricInterpretation")
    if samples != 1 or colours.startswith(("RGB", "YBR", "PALETTE")):
        raise OtherKind("a colour image; expected grey ones")
    if colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refusal("a DICOM header that tells no grey scale; it is cut off or damaged")


def component(frame: Header) -> Component:
    """Whether an image is a magnitude, or the phase or another part of a complex one.

    Raises:
        Refusal: neither: a map, a projection, a localizer, a difference of phases ...
    """
    codes = [*frame.codes("ImageType"), *frame.codes("FrameType")]
    later = {code for code in codes if code not in ("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY")}
    if later & VELOCITY:
        raise OtherKind(OF_VELOCITY)
    for code in codes:  # before the parts: a map of the field is called REAL, too
        if code in COMPUTED:
            raise OtherKind(f"{COMPUTED[code]}, computed from other images")
    part = _part(frame, later)
    # Frames have places of their own: the code is left over from how the scanner once kept them.
    if later & MOSAIC and frame.whole("NumberOfFrames", 1) <= 1:
        raise Refusal("a mosaic (many slices in one picture); export it as single slices")
    descriptions = [frame.text(word) for word in ("SeriesDescription", "ProtocolName")]
    for field in ("SeriesDescription", "ImageComments"):
        what, quoted = words.not_magnitude(frame.text(field))
        if what and not (part == "phase" and what == "a phase image"):
            raise OtherKind(f'{what}: "{quoted}" in its {field}; expected a magnitude')
    if later & SCOUTS or words.is_scout(*descriptions):
        raise OtherKind("a localizer")
    if part == "phase" and FILTERED in words.plain(descriptions[0]):
        raise OtherKind("a phase image of SWI, filtered; expected one as it was measured")
    if part != "magnitude":
        _require_phase_of_magnitude(frame, later)
    return part


def _require_phase_of_magnitude(frame: Header, codes: set[str]) -> None:
    """Refuse what is stored as phase and is a difference: of echoes, or of flow encodings."""
    sequences = [frame.text(word).upper() for word in ("SequenceName", "PulseSequenceName")]
    if any(DIFFERENCE_SEQUENCE in name for name in sequences):
        raise OtherKind(DIFFERENCE)
    flow = "PCA" in codes or frame.text("PhaseContrast").upper() == "YES"
    if flow or any(FLOW_SEQUENCE.search(name) for name in sequences):
        raise OtherKind(OF_VELOCITY)


def _part(frame: Header, codes: set[str]) -> Component:
    parts = [COMPONENTS[c] for c in sorted(codes) if c in COMPONENTS]
    parts += [COMPONENTS[c] for c in frame.codes("ComplexImageComponent") if c in COMPONENTS]
    if not parts and _ge_part(frame) in GE_COMPONENTS:
        parts.append(GE_COMPONENTS[_ge_part(frame)])
    if not parts and frame.text("Manufacturer").upper().startswith("PHILIPS"):
        told = frame.private_text(PHILIPS_PART)
        parts += [COMPONENTS[told]] if told in ("P", "R", "I") else []
    return parts[0] if parts else "magnitude"


def _ge_part(frame: Header) -> int:
    """What GE calls the type of raw data: 0 magnitude, 1 phase, 2 real, 3 imaginary."""
    if not frame.text("Manufacturer").upper().startswith("GE"):
        return 0
    for layer in frame.layers:
        if (0x0043, 0x102F) in layer:
            value = layer.get_item((0x0043, 0x102F)).value
            if isinstance(value, bytes):
                return int.from_bytes(value[:2], "little")
    return 0
