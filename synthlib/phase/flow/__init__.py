"""Phase by factors: a smooth surface for every scan, and fine phase by a conditional flow.

The flow writes in two stages: a coarse one sees the whole head at grids.MM, a fine one
adds at the image's own pixels what the coarse grid cannot hold.
"""

from synthlib.phase.flow.conditions import Conditions
from synthlib.phase.flow.model import PhaseFlow
from synthlib.phase.flow.weights import load, save

__all__ = ["Conditions", "PhaseFlow", "load", "save"]
