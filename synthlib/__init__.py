"""From MRI magnitude images to realistic multi-coil raw data.

A thin library behind the notebooks in ``notebooks/``. The rooms, from the
ground floor up (a room imports only from floors below it):

0   arrays
1   records, runs
2   tasks
3   formats, scanner, coils, metrics
4   datasets
5   likeness
6   pairs, figures, tables
7   phase, synthesis
8   recon, widgets
9   pipeline
10  cli
"""

__version__ = "0.1.0"
