"""Figures of speed, each measured against something else in the same run. Not tests: nothing here passes or fails."""
