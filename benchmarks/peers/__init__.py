"""The same grid of the same runs given to several tools in turn. Each tool is used as its own manual shows."""
