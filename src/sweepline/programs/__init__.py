"""What a sweep starts, our trainer or anybody's command: from words of a file to an argument list. Starts nothing."""
