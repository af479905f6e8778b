"""What a stage has to pass, ours or a stranger's."""
