"""In which order, or by which draws, combinations of a search space are proposed."""
