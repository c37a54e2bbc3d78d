"""How the gradient of alpha is taken, one way a file."""
