"""Phase for magnitude images: the generators, their training, and every other source of phase.

`phase.load("flow-head-v1")(magnitude, seed=1)` writes it with the weights that come with synthlib.
"""

from synthlib.phase.shipped import load

__all__ = ["load"]
