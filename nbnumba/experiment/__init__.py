"""What is simulated: an immutable description, and everything that follows from it."""
