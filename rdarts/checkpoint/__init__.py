"""What a checkpoint may hold, and how it is read."""
