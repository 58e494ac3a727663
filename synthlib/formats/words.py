"""Words of fixed lists for what an image shows: a header's own text never gets further."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

PLANES = {"axial": "AX", "coronal": "COR", "sagittal": "SAG", "unknown": ""}
# The first that fits wins: T2 FLAIR is FLAIR, T2* is a gradient echo, a T1 gradient echo is T1.
_KEYWORDS = (
    ("FLAIR", r"flair|dark.?fluid"),
    ("STIR", r"\bstir\b|\btirm\b"),
    ("SWI", r"\b(swi|swip|swan|venobold)\b"),
    ("TOF", r"\b(tof|mra|angio[a-z]*)\b"),
    ("DWI", r"\b(dwi|dti|dwib[a-z]*|diff|diffusion|hardi)\b"),
    ("PERF", r"\b(asl|pcasl|pasl|dsc|dce|perf|perfusion)\b"),
    ("BOLD", r"\b(bold|fmri|rsfmri)\b"),
    ("GRE", r"\bt2 ?(\*|star|s\b)|\b(medic|hemo)\b"),
    ("T1", r"\bt1(w|ce|c|gd|post|wi|se|tse|fse|mprage)?\b|mprage|\b(mp2rage|bravo|spgr)\b"),
    ("PD", r"\b(pd|pdw|proton)\b"),
    ("T2", r"\bt2(w|wi|se|tse|fse)?\b"),
    ("GRE", r"\b(gre|ffe|megre)\b"),
)
KEYWORDS = tuple((weight, re.compile(pattern)) for weight, pattern in _KEYWORDS)
POST = re.compile(
    r"\b(post|gd|gad|gadolinium|contrast|km|ce|t1ce|t1c|t1gd|t1post|ce t1w)\b|\+ ?(c|gd|km)\b"
)
WITHOUT = re.compile(r"\b(pre|without|ohne|nativ|native|non)\b")
SCOUT = re.compile(r"\b(localizer|localiser|loc|scout|survey|smartbrain|plane loc|lokalizer)\b")
# What is no magnitude of a slice though its codes do not say so: the first that fits is told.
_NOT_MAGNITUDES = (
    ("a difference of images", r"\b(subtract(ion|ed)?|subtr)\b|\bsub\b(?! ?(?!t[12]\b)[a-z]*\d)"),
    ("a g-factor map", r"\bg ?factors?\b"),
    ("a map of diffusion (ADC)", r"\be?adc\b|\bapparent diffusion\b"),
    ("a map of diffusion", r"\b(tensor|tracew|colfa|fa (map|image)s?|fractional anisotropy)\b"),
    ("a ratio of images (MP2RAGE UNI)", r"\buni (images?|den)\b|\bunit1\b|\bmp2rage.*\buni\b"),
    ("a map of the field", r"\b(b0|b1|field) ?maps?\b"),
    ("a map of flip angles", r"\bflip ?angle ?maps?\b"),
    ("a map of relaxation", r"\b(t1|t2|t2 ?star|t2\*|r1|r2|r2 ?star|r2\*) ?maps?\b"),
    ("a map of perfusion", r"\b(rel)?(cbf|cbv|mtt|ttp)\b"),
    ("a map of susceptibility (QSM)", r"\bqsm\b"),
    ("a phase image", r"\bpha\b|\bphase (images?|maps?|part)\b|\b(relative|unwrapped) phase\b"),
)
# Suffixes of file names (BIDS, FSL, MRtrix, FreeSurfer): the last word of a name.
NOT_MAGNITUDE_SUFFIXES = {
    "adc": "a map of diffusion (ADC)", "eadc": "a map of diffusion (ADC)",
    "colfa": "a map of diffusion", "tensor": "a map of diffusion",
    "dwimap": "a map of diffusion",
    "unit1": "a ratio of images (MP2RAGE UNI)", "uni": "a ratio of images (MP2RAGE UNI)",
    "t1map": "a map of relaxation", "t2map": "a map of relaxation",
    "t2starmap": "a map of relaxation", "r1map": "a map of relaxation",
    "r2map": "a map of relaxation", "r2starmap": "a map of relaxation",
    "pdmap": "a map of proton density", "mtrmap": "a map of magnetization transfer",
    "mtsat": "a map of magnetization transfer", "mtvmap": "a map of proton density",
    "mwfmap": "a map of myelin water", "s0map": "a fit (S0)", "m0map": "a fit (M0)",
    "fieldmap": "a map of the field", "b0map": "a map of the field",
    "b1map": "a map of the field", "tb1map": "a map of the field", "rb1map": "a map of the field",
    "swi": "magnitude times a mask of phase (SWI)",
    "mip": "a projection (MIP)", "minip": "a projection (MinIP)",
    "qsm": "a map of susceptibility (QSM)", "chimap": "a map of susceptibility (QSM)",
    "gfactor": "a g-factor map", "gfac": "a g-factor map",
    "cbf": "a map of perfusion", "cbv": "a map of perfusion", "mtt": "a map of perfusion",
    "ttp": "a map of perfusion", "tmax": "a map of perfusion",
    "probseg": "a map of probabilities", "brainmask": "a mask", "aseg": "a label map",
    "aparc": "a label map", "zstat": "a statistical map", "tstat": "a statistical map",
    "statmap": "a statistical map",
}  # fmt: skip
# Two letters may be a name: these count in BIDS, or beside a word of diffusion.
DIFFUSION_SUFFIXES = {"fa", "md", "ad", "rd", "mo", "mk", "l1", "l2", "l3", "v1", "v2", "v3"}
DIFFUSION_WORDS = {"dwi", "dti", "dki", "dtifit", "diff", "diffusion", "tensor", "model", "param"}
NOT_MAGNITUDES = tuple((what, re.compile(pattern)) for what, pattern in _NOT_MAGNITUDES)
_PLANES = tuple(
    (plane, re.compile(rf"\b({names})\b"))
    for plane, names in (
        ("axial", "ax|axial|tra|trans|transvers(al|e)"),
        ("coronal", "cor|coronal"),
        ("sagittal", "sag|sagittal"),
    )
)
WEIGHTS = (*dict.fromkeys(weight for weight, _ in KEYWORDS), "T1POST", "T1PRE")
CONTRASTS = frozenset(
    [
        *(
            plane + weight
            for plane in PLANES.values()
            for weight in ("", *WEIGHTS)
            if plane + weight
        ),
        "MPRAGE",
        "CORPD_FBK",
        "CORPDFS_FBK",
        "unknown",
    ]
)
ANATOMIES = {
    "head": "head|brain|skull|cranium|neuro|headneck|hirn|kopf|schaedel|iac|orbits?|pituitary",
    "neck": "neck|larynx|thyroid",
    "spine": "spine|cspine|tspine|lspine|cervical|thoracic|lumbar|sacrum",
    "chest": "chest|thorax|lung",
    "heart": "heart|cardiac",
    "breast": "breast|mamma",
    "abdomen": "abdomen|liver|kidney|pancreas|mrcp",
    "pelvis": "pelvis|prostate|uterus|bladder|rectum",
    "knee": "knee|knie",
    "hip": "hip",
    "shoulder": "shoulder|schulter",
    "limb": "ankle|foot|leg|thigh|calf|wrist|hand|elbow|arm|forearm|extremity|finger|toe",
    "body": "wholebody|body",
}
_ANATOMIES = {part: re.compile(rf"\b({words})\b") for part, words in ANATOMIES.items()}
# The names of the companies, not the codes of their raw data: MRpro takes k-space of the vendor
# "Siemens" for one of Siemens' sign and conjugates it, which turns an image over.
_VENDORS = (
    ("Siemens Healthineers", "siemens"),
    ("GE HealthCare", "ge|general electric"),
    ("Philips Healthcare", "philips|marconi|picker"),
    ("Canon Medical Systems", "canon|toshiba"),
    ("United Imaging Healthcare", "uih|united imaging"),
    ("Fujifilm Healthcare", "hitachi|fujifilm"),
    ("Bruker BioSpin", "bruker"),
    ("Hyperfine", "hyperfine"),
    ("Esaote", "esaote"),
    ("Neusoft Medical Systems", "neusoft"),
)
VENDORS = tuple((vendor, re.compile(rf"\b({words})\b")) for vendor, words in _VENDORS)
OBLIQUE_DEGREES = 20.0


def plain(*texts: str) -> str:
    """Lower case, with blanks for what joins words, for example "ax_T2-flair" to "ax t2 flair"."""
    text = " ".join(texts)
    apart = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text).lower()
    return re.sub(r"[^a-z0-9*+]+", " ", apart).strip()


def weight(*texts: str) -> str:
    """The weighting that a description names, one of WEIGHTS; "" where it names none."""
    return _first(KEYWORDS, plain(*texts))


def is_post(*texts: str) -> bool:
    """Does a description say that a contrast agent was given?"""
    text = plain(*texts)
    return bool(POST.search(text)) and not WITHOUT.search(text)


def is_scout(*texts: str) -> bool:
    return bool(SCOUT.search(plain(*texts)))


def not_magnitude(text: str) -> tuple[str, str]:
    """What a description or comment calls an image that is no magnitude, and by which words.

    Both are empty where it does not; the words are those of the patterns alone, in lower case.
    """
    described = plain(text)
    for what, pattern in NOT_MAGNITUDES:
        if match := pattern.search(described):
            found = match[0].split()
            gap = ".*" in pattern.pattern  # what stands between may be a name
            return what, f"{found[0]} ... {found[-1]}" if gap and len(found) > 2 else match[0]
    return "", ""


def not_magnitude_name(stem: str) -> str:
    """What a file's name calls an image that is no magnitude; "" where it does not.

    The last word of the name decides, as in BIDS, or the two words of a map ("T1_map"); what
    stands before may be a person's name.

    Args:
        stem: the name without its ending.
    """
    parts = [plain(part) for part in stem.split("_")]
    last = parts[-1].replace(" ", "")
    if last in NOT_MAGNITUDE_SUFFIXES:
        return NOT_MAGNITUDE_SUFFIXES[last]
    described = set(" ".join(parts).split()) & DIFFUSION_WORDS
    if last in DIFFUSION_SUFFIXES and (described or stem.startswith("sub-")):
        return "a map of diffusion"
    entities = [part for part in parts if not part.startswith(("sub ", "ses "))]
    n_words = 2 if last in ("map", "maps", "image", "images", "factor") else 1
    return not_magnitude(" ".join(entities[-n_words:]))[0]


def _first(patterns: Sequence[tuple[str, re.Pattern[str]]], text: str) -> str:
    return next((what for what, pattern in patterns if pattern.search(text)), "")


def anatomy(*texts: str) -> str:
    """The part of the body, a word of ANATOMIES; "unknown" where no word of them is found."""
    text = plain(*texts)
    return next((part for part, words in _ANATOMIES.items() if words.search(text)), "unknown")


def vendor(text: str) -> str:
    """Who made the scanner, a word of VENDORS; "" where none of them is named."""
    return _first(VENDORS, plain(text))


def contrast(orientation: str, weighting: str) -> str:
    """A label such as "AXT1POST", one of CONTRASTS."""
    return (PLANES[orientation] + weighting) or "unknown"


def listed_contrast(text: str, orientation: str = "unknown") -> str:
    """One of CONTRASTS for what raw data call their contrast, which may be any text.

    Args:
        text: fastMRI's label, which is kept, or a protocol's name, of which words of the lists
            count alone.
        orientation: a key of PLANES; where it is unknown, the text may name the plane.
    """
    if text.strip().upper() in CONTRASTS:
        return text.strip().upper()
    weighting = weight(text)
    if weighting == "T1" and is_post(text):
        weighting = "T1POST"
    plane = orientation if PLANES.get(orientation) else _first(_PLANES, plain(text))
    return contrast(plane or "unknown", weighting)


def orientation(normal: Sequence[float]) -> tuple[str, float]:
    """The plane closest to a slice, and the angle between the two.

    Args:
        normal: of the slice, (x, y, z) along the patient's left-right,
            front-back and foot-crown, any length and sign.

    Returns:
        "sagittal", "coronal" or "axial"; degrees. "unknown" and nan where the normal is no
        direction.
    """
    length = math.hypot(*normal)
    if not (math.isfinite(length) and length > 0):
        return "unknown", math.nan
    shares = [abs(part) / length for part in normal]
    largest = max(range(3), key=shares.__getitem__)
    angle = math.degrees(math.acos(min(1.0, shares[largest])))
    return ("sagittal", "coronal", "axial")[largest], angle


def oblique_note(plane: str, angle: float) -> tuple[str, ...]:
    if angle > OBLIQUE_DEGREES:
        return (f"oblique: {angle:.0f} degrees off the {plane} plane",)
    return ()
