"""Runs as tasks of a Ray cluster. Ray itself is spoken to by a process of its own: no other module here imports it."""
