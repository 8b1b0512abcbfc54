"""A comparison of runs as it is read: tables, words, a document; what they say is decided in ``analysis/``."""
