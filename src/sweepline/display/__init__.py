"""What a person sees of a sweep: lines, the live table, the log file. Draws what it is given, decides nothing."""
