"""Descriptions in words: what is a magnitude, and what only looks like one."""

import pytest

from synthlib.formats import words

COMPUTED = {
    "ADC (10^-6 mm2/s)": "ADC",
    "dReg - eADC": "ADC",
    "ep2d_diff_3scan_trace_p2_ADC": "ADC",
    "Apparent Diffusion Coefficient": "ADC",
    "dti_64dir_TENSOR": "diffusion",
    "FA map": "diffusion",
    "g-factor map": "g-factor",
    "GFactor": "g-factor",
    "Pha_Images": "phase",
    "Phase images": "phase",
    "relative phase map": "phase",
    "T1 SUB post-pre": "difference",
    "SUB_t1_dyn": "difference",
    "ax t1 subtraction": "difference",
    "mp2rage_UNI_Images": "UNI",
    "t1_mp2rage_sag_p3_UNI-DEN": "UNI",
    "flip angle map": "field",
    "B1map": "",  # one word: a prepared sequence may be called so, and its codes tell
    "B0 map": "field",
    "T2* map": "relaxation",
    "QSM": "susceptibility",
    "relCBF": "perfusion",
}
MAGNITUDES = [
    "sub-01_T1w", "sub01 t2", "sub-A23_FLAIR", "t1_mprage_sag_p2_iso", "T1 in phase", "opp phase",
    "t2_tse_tra multi phase", "phase oversampling 50", "arterial phase", "T2 FLAIR fat sat",
    "dark fluid", "mp2rage_INV2", "B0 magnitude", "uni lateral hip", "t1 fl2d sag",
    "ep2d_diff b1000", "factor V", "tse 3 mm", "post contrast T1", "SWI magnitude", "T1 weighted",
    "mapping prep t1 se",
]  # fmt: skip


@pytest.mark.parametrize("text", COMPUTED)
def test_computed_images_are_told_by_their_words(text):
    assert COMPUTED[text] in words.not_magnitude(text)
    assert words.not_magnitude("t1 tse", text) == words.not_magnitude(text)


@pytest.mark.parametrize("text", MAGNITUDES)
def test_words_of_magnitudes_are_left_alone(text):
    assert words.not_magnitude(text) == ""
