"""What happens inside one pixel: recorded, written, read again."""
