"""Cost of a method: parameters, GMACs, memory, time."""
