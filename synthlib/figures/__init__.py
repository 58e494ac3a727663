"""Arrays in, a matplotlib Figure out. Nothing here reads or writes a file."""

from synthlib.figures.complexes import complex_panels
from synthlib.figures.conversions import Made, paired, received
from synthlib.figures.cures import generator_matrix
from synthlib.figures.flows import flow_phase
from synthlib.figures.maps import beyond_the_support, coil_maps, coil_view, combination, gauges
from synthlib.figures.networks import (
    benchmark_curves,
    convergence,
    differences,
    gains,
    losses,
    reconstructions,
    worth,
)
from synthlib.figures.phases import (
    phase_gallery,
    phase_samples,
    phase_statistics,
    phase_view,
    tissue_phase,
)
from synthlib.figures.scans import blind_look, data_overview, likeness, mechanisms

__all__ = [
    "Made",
    "benchmark_curves",
    "beyond_the_support",
    "blind_look",
    "coil_maps",
    "coil_view",
    "combination",
    "complex_panels",
    "convergence",
    "data_overview",
    "differences",
    "flow_phase",
    "gains",
    "gauges",
    "generator_matrix",
    "likeness",
    "losses",
    "mechanisms",
    "paired",
    "phase_gallery",
    "phase_samples",
    "phase_statistics",
    "phase_view",
    "received",
    "reconstructions",
    "tissue_phase",
    "worth",
]
