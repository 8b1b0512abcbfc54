"""The config of a run: its keys, how files become one, and what follows from it."""
