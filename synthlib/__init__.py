"""From MRI magnitude images to realistic multi-coil raw data.

A thin library behind the notebooks in ``notebooks/``. The rooms, from the
ground floor up (a room imports only from floors below it):

0  arrays, records, runs, tasks
1  formats, scanner, coils, metrics
2  pairs, figures, tables
3  phase, synthesis
4  recon, widgets
5  pipeline, cli
"""

__version__ = "0.1.0"
