"""Where beam, detector and spindle are: as the files of other programs have it, and where reflections come from that."""
