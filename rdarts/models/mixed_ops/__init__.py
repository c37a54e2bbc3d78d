"""How the candidates of an edge are mixed, one way a file."""
