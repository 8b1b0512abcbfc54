"""As many processes as slots, each of which does its share of the runs one after another: no isolation at all."""

import subprocess
import sys

from common import JOBS, N, WORKLOAD, function, grid

if "--share" in sys.argv:
    share = int(sys.argv[-1])
    run = function()
    for config in grid.configs(N)[share::JOBS]:
        run(**config)
else:
    processes = [
        subprocess.Popen([sys.executable, __file__, WORKLOAD, str(N), str(JOBS), "--share", str(i)])
        for i in range(JOBS)
    ]
    sys.exit(max(process.wait() for process in processes))
