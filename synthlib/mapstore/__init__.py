"""The map store: coil maps of whole volumes, estimated once and kept with how good they are.

One file per volume. What is there and current is not estimated again, so that
a run that was stopped goes on where it was; a volume that fails is told at the
end and stops no other.
"""

from synthlib.mapstore.building import build, build_folder
from synthlib.mapstore.files import MapFile, Store, quality_rows

__all__ = ["MapFile", "Store", "build", "build_folder", "quality_rows"]
