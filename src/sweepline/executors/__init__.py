"""Places where runs execute, behind one small contract (``base``): this machine's processes first."""
