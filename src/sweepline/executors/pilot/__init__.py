"""Runs on all nodes of an allocation that the sweep was started in: a keeper on each, spoken to from here."""
