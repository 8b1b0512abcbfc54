"""Which size fits: searches that know nothing of training, for whoever can try a size, and what is free."""
