"""Readers of what sweeps recorded. Nothing here writes into a sweep's folder or starts anything."""
