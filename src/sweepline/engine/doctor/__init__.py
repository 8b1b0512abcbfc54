"""What works on this machine and what will not, looked at without starting a sweep."""
