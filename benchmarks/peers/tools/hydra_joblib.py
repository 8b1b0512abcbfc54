"""Hydra multirun with its joblib launcher: worker processes that are reused."""

import os
import sys

if "HYDRA_BENCH" not in os.environ:
    from common import JOBS, N, WORKLOAD, grid

    overrides = [f"+{name}={','.join(map(str, values))}" for name, values in grid.axes(N).items()]
    os.environ["HYDRA_BENCH"] = f"{WORKLOAD} {N} {JOBS}"
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={JOBS}"]
    os.execv(sys.executable, [sys.executable, __file__, "-m", *overrides, *launcher])

import hydra


@hydra.main(version_base=None, config_path=None)
def main(config):
    sys.argv = ["common", *os.environ["HYDRA_BENCH"].split()]
    from common import function

    return function()(lr=config.lr, decay=config.decay, momentum=config.momentum)


main()
