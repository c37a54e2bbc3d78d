"""What leaves the toolbox: exported networks, their descriptions, and what runs them."""
