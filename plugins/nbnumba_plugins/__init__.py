"""The physics models that ship with nbnumba, one file each, registered through the entry-point group ``nbnumba``."""
