"""The folder of an experiment: numbers, frozen configs, records and weights of its runs."""
