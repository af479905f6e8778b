"""What became of damaged files, by reader: (exit code, seconds of the processor) of each."""

TALLY: dict[str, list[tuple[int | None, float]]] = {}
