"""Images that were rendered, what they amount to, and how they are drawn."""
