"""The simulated scanner: heads whose image phase is known exactly, mechanism by mechanism."""

from synthlib.scanner.acquisition import OBJECT_PHASES, Scan, scan_subject, scans
from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.constants import fat_shift_hz
from synthlib.scanner.settings import ScanSettings, Subject, subjects

__all__ = [
    "OBJECT_PHASES",
    "TISSUES",
    "Scan",
    "ScanSettings",
    "Subject",
    "fat_shift_hz",
    "scan_subject",
    "scans",
    "subjects",
]
