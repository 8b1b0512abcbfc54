"""Runs as jobs of a Slurm cluster whose nodes share the file system of the sweep."""
