"""``runs.csv`` is read all the time while a sweep of very short runs writes it: never a fault, never a step back."""

from __future__ import annotations

import json
import subprocess
import sys

from sweepline.recording.columns import FIXED_COLUMNS
from tests.conftest import DEADLINE_S, Project, wait_until
from tests.reliability import scaled

READER = """
import csv, io, json, pathlib, sys, time
import pandas as pd

path, done = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
faults, n_reads, sizes, widths, last, seen = [], 0, set(), set(), 0, set()
is_last = False
while not is_last and len(faults) < 20:
    is_last = done.exists()  # one more after the end
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        if last:
            faults.append("the table has gone")
        continue
    if raw and not raw.endswith(b"\\n"):
        faults.append(f"ends with {raw[-40:]!r}")
    try:
        header, *rows = csv.reader(io.StringIO(raw.decode(), newline=""), strict=True)
        frame = pd.read_csv(path)
    except Exception as error:
        faults.append(repr(error))
        continue
    n_reads += 1
    torn = [row for row in rows if len(row) != len(header)]
    if torn:
        faults.append(f"a row of {len(torn[0])} cells under {len(header)} columns: {torn[0]}")
    if len(rows) < last or len(frame) < len(rows):
        faults.append(f"{last} rows, then {len(rows)}, then {len(frame)}")
    ids = {row[1] for row in rows}
    if seen - ids:
        faults.append(f"{len(seen - ids)} rows have gone")
    if len(ids) != len(rows) or frame.run_id.duplicated().any():
        faults.append("a row stands there twice")
    if not frame.state.eq("finished").all() or frame.loss.isna().any() or frame.duration_s.isna().any():
        faults.append("a row lacks what every row has")
    last, seen = len(frame), seen | ids
    sizes.add(len(rows))
    widths.add(len(header))
    if n_reads == 1:
        print("reading", flush=True)
print(json.dumps({"faults": faults, "n_reads": n_reads, "n_sizes": len(sizes), "n_widths": len(widths), "n": last}))
"""
PROGRAM = """\
#!/bin/sh
x=${1#--x=}
echo "METRIC loss=$x name_$((x / 50))=1 long_name_of_a_metric_that_makes_lines_longer_$((x / 200))=0.123456789"
"""


def test_a_reader_never_meets_a_fault_a_torn_row_or_fewer_rows_than_before(project: Project) -> None:
    n_runs = scaled(5_000)
    project.write("run.sh", PROGRAM).chmod(0o755)
    project.write("reader.py", READER)
    project.write(
        "sweep.yaml",
        f"""
        program: run.sh
        name: s
        metric: {{name: loss}}
        parameters: {{x: {list(range(n_runs))}}}
        devices: cpu
        max_concurrent: 4
        """,
    )
    done, table = project.path / "done", project.path / "outputs" / "s" / "runs.csv"

    sweep = project.start("run")
    wait_until(table.exists, "there is a table")
    reader = subprocess.Popen(
        [sys.executable, str(project.path / "reader.py"), str(table), str(done)],
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    out, err = sweep.communicate(timeout=DEADLINE_S * 5)
    done.touch()
    report, _ = reader.communicate(timeout=DEADLINE_S)

    assert sweep.returncode == 0, out[-2000:] + err[-2000:]
    found = json.loads(report.splitlines()[-1])
    assert found["faults"] == []
    assert found["n"] == n_runs
    assert found["n_sizes"] > 3  # it has read while rows came
    assert found["n_widths"] > 1  # and while columns came
    assert len(project.rows().columns) == len(FIXED_COLUMNS) + 2 + -(-n_runs // 50) + -(-n_runs // 200)
