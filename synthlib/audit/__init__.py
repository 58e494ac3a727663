"""Were these images processed in ways that make results too good? The audit of magnitude images."""
