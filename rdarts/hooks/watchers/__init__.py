"""What judges a search while it goes on, one rule a file."""
