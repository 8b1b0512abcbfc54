"""What Slurm's words for the state of a job mean for the run in it; see squeue(1), JOB STATE CODES."""

from __future__ import annotations

from sweepline.executors.base import Exit, StopReason

ALIVE = frozenset(
    {
        *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"),
        *("RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "EXPEDITING"),
    }
)
ENDED = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"),
        *("RECONFIG_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "REVOKED"),
    }
)
UNKNOWN = ""
"""The state of a job that Slurm knows nothing of any more."""

MAY_LIVE = frozenset({UNKNOWN, "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "REVOKED"})
"""States of jobs whose processes nobody has ended for certain."""

_TAKEN_BACK = ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED")
_TIME_IS_OVER = ("TIMEOUT", "DEADLINE")


def reason_of(state: str) -> StopReason:
    """Return why a run was stopped that its sweep has not stopped, by the state of its job."""
    if state == "CANCELLED":
        return StopReason.BY_HAND
    return StopReason.TIME_LIMIT if state in _TIME_IS_OVER else StopReason.PREEMPTED


def exit_of(state: str, *, node: str, duration_s: float, log: str, has_begun: bool, is_claimed: bool) -> Exit:
    """Return how a run ended whose job has ended so without telling.

    Args:
        state: that of its job.
        node: where it ran; empty where it has not.
        duration_s: for how long it ran.
        log: where the job's own output is.
        has_begun: whether the job had begun when it was cancelled.
        is_claimed: whether it has taken the run up.
    """
    if state == "CANCELLED" and node and not has_begun:  # Slurm does so where it cannot launch a job
        state = "LAUNCH_FAILED"
    if state == "OUT_OF_MEMORY":
        return Exit(signal=9, is_out_of_memory=True, host=node, duration_s=duration_s)
    if state in _TIME_IS_OVER or state == "CANCELLED":
        return Exit(stopped=reason_of(state), host=node, duration_s=duration_s)
    if state in _TAKEN_BACK or state == UNKNOWN:
        remark = f"its job: {state.lower().replace('_', ' ')}" if state else "Slurm knows nothing of its job any more"
        remarks = [f"{remark} ({node})" if node else remark]
        return Exit(stopped=StopReason.PREEMPTED, remarks=remarks, host=node, duration_s=duration_s)
    if is_claimed:  # who supervised the run was killed as well; a few more attempts may tell why
        return Exit(
            stopped=StopReason.PREEMPTED, remarks=[f"its job ended ({state.lower()}) without a word"], host=node
        )
    return Exit(not_started=f"its job ended ({state.lower()}) without having told of the run: see {log}", host=node)
