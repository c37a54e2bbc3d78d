"""What a step, a network or a whole process costs: time, memory, operations."""
