"""How a number that depends on an image changes with the parameters of its experiment."""
