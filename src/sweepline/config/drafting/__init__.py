"""A first sweep file for a script: which flags to sweep, which metric to look at, and a text that says why."""
