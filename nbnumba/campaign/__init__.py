"""Many images: a sweep, where its files go, and what each of a run's files holds."""
