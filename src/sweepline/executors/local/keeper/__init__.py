"""One process that starts, watches and ends all runs of a sweep, and outlives whoever asked for them. Stdlib only."""
