"""submitit's local executor, which has no bound of its own: a pool of threads submits and waits."""

import os
from concurrent.futures import ThreadPoolExecutor

import submitit
from common import JOBS, N, WORKLOAD, WORKLOADS, grid

os.environ["PYTHONPATH"] = str(WORKLOADS)
executor = submitit.LocalExecutor(folder="jobs")
executor.update_parameters(timeout_min=10)


def task(name, config):
    import importlib

    return importlib.import_module(name).run(**config)


with ThreadPoolExecutor(JOBS) as pool:
    list(pool.map(lambda config: executor.submit(task, WORKLOAD, config).result(), grid.configs(N)))
