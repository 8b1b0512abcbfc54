"""A run on another machine: its task as data, and who runs it there."""
