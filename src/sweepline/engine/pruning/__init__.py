"""Stopping runs early: rules on what a run has measured so far, beside what others had at the same place. Pure."""
