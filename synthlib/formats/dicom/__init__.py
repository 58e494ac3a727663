"""DICOM images: the only door to pydicom."""

from synthlib.formats.dicom.folder import read_images
from synthlib.formats.dicom.header import read as read_header
from synthlib.formats.dicom.kinds import COMPUTED
from synthlib.formats.dicom.reading import read_series
from synthlib.formats.dicom.series import MOST_VOLUMES, Bundle, Sorter
from synthlib.formats.dicom.writing import write_series

__all__ = [
    "COMPUTED",
    "MOST_VOLUMES",
    "Bundle",
    "Sorter",
    "read_header",
    "read_images",
    "read_series",
    "write_series",
]
