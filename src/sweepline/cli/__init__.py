"""The command line: parse, load, run, print, choose the exit code. Thinks as little as possible."""
