"""Configs of other tools, as sweep files: what each key becomes, and which cannot be carried over."""
