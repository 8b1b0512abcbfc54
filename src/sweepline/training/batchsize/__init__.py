"""The batch size: the largest that fits, how much of it is used, what earlier runs have found, what is efficient."""
