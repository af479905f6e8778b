"""What a stage of the physics is, which there are, and which an experiment takes."""
