"""What stands between the two programs, sweep and training: texts, files and names that both write or read."""
