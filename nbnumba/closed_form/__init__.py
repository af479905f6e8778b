"""Spots of Gaussian crystals in closed form: no samples of phi, of mosaic domains, of wavelengths or of directions."""
