"""``xargs -P`` over the argument lists."""

import os

from common import JOBS, N, PYTHON, SCRIPT, grid

with open("arguments.txt", "w") as file:
    file.writelines(" ".join(grid.words(config)) + "\n" for config in grid.configs(N))
os.dup2(os.open("arguments.txt", os.O_RDONLY), 0)
os.execvp("xargs", ["xargs", "-P", str(JOBS), "-L", "1", PYTHON, SCRIPT])
