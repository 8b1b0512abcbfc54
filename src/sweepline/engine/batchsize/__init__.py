"""The largest batch size that fits a program: tried, watched, searched for and recorded."""
