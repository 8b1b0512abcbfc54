"""What a sweep writes down: journal (the truth), runs.csv (a view of it), run folders. One writer, many readers."""
