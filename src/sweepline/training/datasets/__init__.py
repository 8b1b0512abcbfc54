"""Data sets that live whole on the device."""
