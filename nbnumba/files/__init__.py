"""Files as such: read within bounds, written whole or not at all, kept from run to run."""
