"""Runs that a scheduler has: which wait for a place, and on which node the others are, as their folders tell it."""

from __future__ import annotations

from collections.abc import Iterable

from sweepline.executors.node.claim import read_job
from sweepline.executors.slurm.mailbox import FOLDER
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.runs import State


def find_jobs(folder: SweepFolder, records: Iterable[RunRecord]) -> dict[str, str]:
    """Return the node of each run under way that is a job, by run id; nothing for one that waits for a place."""
    if not (folder.path / FOLDER).is_dir():
        return {}
    running = (record for record in records if record.state == State.RUNNING)
    return {record.run_id: str(read_job(folder.run_dir(record.run_id)).get("node", "")) for record in running}
