"""Complex images in the hand: the only door to ipywidgets and anywidget."""

from synthlib.figures.complexes import Limits
from synthlib.figures.pixels import Stack
from synthlib.widgets.cases import Case
from synthlib.widgets.coil_browser import CoilBrowser, coil_browser
from synthlib.widgets.gallery import PhaseGallery, guess_heads, phase_gallery
from synthlib.widgets.raw_viewer import RawViewer, raw_viewer
from synthlib.widgets.viewer import ComplexViewer, Control

__all__ = [
    "Case",
    "CoilBrowser",
    "ComplexViewer",
    "Control",
    "Limits",
    "PhaseGallery",
    "RawViewer",
    "Stack",
    "coil_browser",
    "guess_heads",
    "phase_gallery",
    "raw_viewer",
]
