"""From an archive's magnitude images to raw data: one volume after the other, with a report."""
