"""Variational Networks trained on each kind of phase and tested on measured data."""
