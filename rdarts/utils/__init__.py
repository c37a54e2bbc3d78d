"""What any part of the package may use, and which uses no other part."""
