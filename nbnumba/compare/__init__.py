"""Where two images, or two traces of a pixel, differ, and what would explain it."""
