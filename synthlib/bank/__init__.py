"""The coil bank: maps of measured or simulated volumes in head coordinates, for images without raw data."""
