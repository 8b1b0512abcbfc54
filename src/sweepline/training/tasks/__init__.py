"""What is trained: from the index of a batch to its loss."""
