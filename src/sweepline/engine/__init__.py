"""A sweep under way: what is started when, how each run ended, what follows from that. No terminal, no arguments."""
