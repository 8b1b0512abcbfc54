"""The grid that every tool sweeps: learning rate x weight decay x momentum."""

import itertools

DECAYS, MOMENTA = [0.0, 0.0001], [0.0, 0.9]


def axes(n):
    """Return the values by name; ``n`` is a multiple of 4."""
    rates = [round(0.01 * (i + 1), 6) for i in range(n // 4)]
    return {"lr": rates, "decay": DECAYS, "momentum": MOMENTA}


def configs(n):
    """Return all combinations."""
    named = axes(n)
    return [dict(zip(named, values, strict=True)) for values in itertools.product(*named.values())]


def words(config):
    """Return a combination as arguments."""
    return [f"--{name}={value}" for name, value in config.items()]
