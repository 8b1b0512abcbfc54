"""The search space: parameters, constraints, samplers. Pure functions, no I/O; all randomness comes from a seed."""
