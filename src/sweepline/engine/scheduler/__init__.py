"""W&B's ``scheduler`` block: a file of the user's proposes what runs, in a process of its own."""
