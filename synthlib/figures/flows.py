"""What the flow writes, beside the paper's GAN and measured phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from synthlib.figures.cures import FINE_RAD
from synthlib.figures.style import PHASE, aspect_of, greys, grid, phase_bar, row_label, show

COLUMNS = {  # of the pictures, in their order, with their titles
    "magnitude": "magnitude",
    "measured": "measured",
    "flow": "flow",
    "again": "flow, another draw",
    "gan": "GAN",
    "measured_fine": "measured, fine part",
    "flow_fine": "flow, fine part",
    "gan_fine": "GAN, fine part",
    "uncertainty": "uncertainty of the flow",
}
PANEL = 1.35  # inches


def flow_phase(pictures: Sequence[Mapping[str, Tensor]], labels: Sequence[str]) -> Figure:
    """A row a slice: phase, its fine part, and the uncertainty of the flow.

    Args:
        pictures: names of COLUMNS to (y, x), radians but for the magnitude; nan outside
            the head.
        labels: of the rows.
    """
    figure, axes = grid(
        len(pictures), len(COLUMNS), panel=PANEL, aspect=aspect_of(pictures[0]["magnitude"])
    )
    fine = {"cmap": "gray", "vmin": -FINE_RAD, "vmax": FINE_RAD}
    unsure = {"cmap": "magma", "vmin": 0.0, "vmax": 2 * FINE_RAD}
    for row, (shown, label) in enumerate(zip(pictures, labels, strict=True)):
        images = {}
        for column, (name, title) in enumerate(COLUMNS.items()):
            if name == "magnitude":
                how = greys(shown[name])
            else:
                how = fine if name.endswith("fine") else unsure if name == "uncertainty" else PHASE
            heading = title if row == 0 else ""
            images[name] = show(axes[row, column], shown[name], heading, **how)
        row_label(axes[row, 0], label)
    phase_bar(figure, images["gan"], axes[:, 1:5], "phase (rad)")
    for name, columns, label in (
        ("gan_fine", slice(5, 8), "fine part (rad)"),
        ("uncertainty", slice(8, 9), "s.d. (rad)"),
    ):
        figure.colorbar(images[name], ax=axes[:, columns], shrink=0.8, aspect=25, label=label)
    return figure
