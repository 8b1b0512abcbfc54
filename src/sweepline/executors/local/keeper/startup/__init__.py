"""A folder that stands first in the ``PYTHONPATH`` of runs; nothing here is imported by sweepline itself."""
