"""Guild AI: the trials staged as a batch, and as many queues as slots that run them."""

import shutil
import subprocess
import sys
from pathlib import Path

from common import JOBS, N, WORKLOAD, WORKLOADS, grid

for name in (f"{WORKLOAD}.py", "record.py"):
    shutil.copy(WORKLOADS / name, name)
Path("guild.yml").write_text(f"""
- operations:
    sweep:
      main: {WORKLOAD}
      flags-dest: args
      flags-import: no
      output-scalars: 'METRIC (\\key)=(\\value)'
      flags: {{lr: 0.1, decay: 0.0, momentum: 0.9}}
""")
guild = str(Path(sys.executable).with_name("guild"))
flags = [f"{name}=[{','.join(map(str, values))}]" for name, values in grid.axes(N).items()]
subprocess.run([guild, "run", "sweep", *flags, "--stage-trials", "-y"], check=True)
queues = [subprocess.Popen([guild, "run", "queue", "run-once=yes", "-y"]) for _ in range(JOBS)]
sys.exit(max(queue.wait() for queue in queues))
