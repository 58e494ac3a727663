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
    "flip angle map": "flip angles",
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
    what, quoted = words.not_magnitude(text)
    assert COMPUTED[text] in what
    assert all(word in words.plain(text) for word in quoted.split(" ... "))


def test_what_stands_between_two_words_of_a_list_is_not_repeated():
    _, quoted = words.not_magnitude("mp2rage John Smith UNI 3")
    assert quoted == "mp2rage ... uni"


@pytest.mark.parametrize("text", MAGNITUDES)
def test_words_of_magnitudes_are_left_alone(text):
    assert words.not_magnitude(text) == ("", "")


NAMES = {
    "sub-01_T1map": "relaxation", "sub-01_ses-2_T2starmap": "relaxation", "T1_map": "relaxation",
    "sub-01_UNIT1": "UNI", "sub-01_acq-x_MP2RAGE_UNI": "UNI", "head_ADC": "ADC",
    "sub-01_dir-AP_desc-tensor_FA": "diffusion", "dti_MD": "diffusion", "sub-01_TB1map": "field",
    "sub-01_B0map": "field", "sub-01_swi": "SWI", "swi_minIP": "MinIP", "sub-01_Chimap": "QSM",
    "scan_g-factor": "g-factor", "sub-01_label-GM_probseg": "probabilities", "asl_cbf": "perfusion",
}  # fmt: skip
NAMES_OF_MAGNITUDES = [
    "sub-01_T1w", "sub-swi_T1w", "sub-01_T2starw", "sub-01_dir-AP_dwi", "sub-anna_T2w", "sub-01",
    "sub-01_inv-2_MP2RAGE", "sub-01_space-MNI_desc-preproc_T1w", "sub-01_magnitude1", "max_fa",
    "sub-01_acq-adc_FLAIR", "dti_S0", "sub-01_bold", "sub-01_PDT2", "adc clinic_T1", "jones md",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_maps_tell_them(name):
    assert NAMES[name] in words.not_magnitude_name(name)


@pytest.mark.parametrize("name", NAMES_OF_MAGNITUDES)
def test_names_of_magnitudes_and_of_people_are_left_alone(name):
    assert words.not_magnitude_name(name) == ""


@pytest.mark.parametrize(
    ("text", "plane", "label"),
    [
        ("AXT2", "unknown", "AXT2"),
        ("AXT1PRE", "unknown", "AXT1PRE"),
        ("CORPD_FBK", "axial", "CORPD_FBK"),
        ("MEIER^ANNA t2_tse_tra_320", "unknown", "AXT2"),
        ("MEIER^ANNA 1970-01-02", "sagittal", "SAG"),
        ("MEIER^ANNA 1970-01-02", "unknown", "unknown"),
        ("t1_se_post_KM", "coronal", "CORT1POST"),
        ("unknown", "unknown", "unknown"),
        ("", "elsewhere", "unknown"),
    ],
)
def test_of_a_protocols_name_words_of_the_list_alone_remain(text, plane, label):
    assert words.listed_contrast(text, plane) == label and label in words.CONTRASTS
