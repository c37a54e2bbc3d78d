"""What a run wrote, read as data."""
