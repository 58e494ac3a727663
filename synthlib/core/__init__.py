"""What several rooms share: the one noise level."""
