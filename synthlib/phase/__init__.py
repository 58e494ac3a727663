"""Phase for magnitude images: the generator, its training, and every other source of phase."""
