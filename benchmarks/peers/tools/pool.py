"""The loop that people write themselves: threads that start subprocesses, a row appended for each."""

import csv
import subprocess
from concurrent.futures import ThreadPoolExecutor

from common import JOBS, N, commands, grid, loss_of


def start(argv):
    return loss_of(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout)


with ThreadPoolExecutor(JOBS) as pool, open("runs.csv", "a", newline="") as file:
    writer = csv.writer(file)
    for config, loss in zip(grid.configs(N), pool.map(start, commands()), strict=True):
        writer.writerow([*config.values(), loss])
        file.flush()
