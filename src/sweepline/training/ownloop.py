"""For those with a training loop of their own."""
