"""Pairs of magnitude and phase: prepared once per scan, split by patient, scaled for a network.

The phase is that of sum_c conj(S_c) m_c, in the gauge of the coil maps S. The
magnitude is the root sum of squares that an archive would hold. Both keep the
scan's own matrix; the network takes any matrix (phase.pix2pix says how).
"""

from synthlib.pairs.prepared import PreparedVolume, prepare
from synthlib.pairs.scaling import (
    SCALES,
    PairDataset,
    phase_to_target,
    scale_magnitude,
    target_to_phase,
)
from synthlib.pairs.study import (
    PARTS,
    all_pairs,
    input_hashes,
    middle_pairs,
    one_of_each,
    open_study,
    require_patients,
    scan_table,
    slices_of,
    split_by_patient,
    study_hashes,
    summary,
)

__all__ = [
    "PARTS",
    "SCALES",
    "PairDataset",
    "PreparedVolume",
    "all_pairs",
    "input_hashes",
    "middle_pairs",
    "one_of_each",
    "open_study",
    "phase_to_target",
    "prepare",
    "require_patients",
    "scale_magnitude",
    "scan_table",
    "slices_of",
    "split_by_patient",
    "study_hashes",
    "summary",
    "target_to_phase",
]
