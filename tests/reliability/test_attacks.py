"""Sweeps under attacks of every kind at random moments, resumed until they are complete; what that cost is counted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.conftest import DEADLINE_S, Project, wait_until
from tests.reliability import IS_SOAK, SEED
from tests.reliability.test_kills import (
    SEEDED,
    faults,
    finished,
    invocations,
    is_alive,
    keeper_of,
    left_by,
    lines_of,
    start_quietly,
    terminal_of,
    write_sweep,
)

N_CAMPAIGNS = 50 if IS_SOAK else 1
N_ATTACKS = 6 if IS_SOAK else 3
MODES = ["saves", "family", "daemon", "late-daemon"]
N_VALUES = 5
GRACE_S = 4
Attack = Callable[["Campaign"], None]


def send(number: int, *pids: int | None) -> None:
    """Send a signal to each of the processes that still is."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number) if pid else None


def shuffled(campaign: Campaign) -> list[int]:
    """Return all processes of the sweep in no order."""
    pids = campaign.project.survivors()
    campaign.chance.shuffle(pids)
    return pids


def stop_and_go(campaign: Campaign) -> None:
    pids = shuffled(campaign)
    send(signal.SIGSTOP, *pids)
    time.sleep(campaign.chance.uniform(0.1, 1.0))
    send(signal.SIGCONT, *pids)


def kill_both(campaign: Campaign) -> None:
    both = (keeper_of(campaign.project), campaign.process.pid)
    send(signal.SIGSTOP, *both)
    send(signal.SIGKILL, *both)


def interrupt_with_stopped_keeper(campaign: Campaign) -> None:
    send(signal.SIGSTOP, keeper_of(campaign.project))
    send(signal.SIGINT, campaign.process.pid)


def interrupt_twice(campaign: Campaign) -> None:
    send(signal.SIGINT, campaign.process.pid)
    time.sleep(campaign.chance.uniform(0, 0.3))
    send(signal.SIGINT, campaign.process.pid)


def end_session(campaign: Campaign) -> None:
    pids = shuffled(campaign)
    send(signal.SIGTERM, *pids)
    send(signal.SIGHUP, *pids)


GENTLE: dict[str, Attack] = {  # after these every run that was told to end has its grace
    "SIGTERM to the sweep": lambda campaign: send(signal.SIGTERM, campaign.process.pid),
    "SIGTERM to the keeper": lambda campaign: send(signal.SIGTERM, keeper_of(campaign.project)),
    "SIGTERM to all": lambda campaign: send(signal.SIGTERM, *shuffled(campaign)),
    "SIGTERM and SIGHUP to all": end_session,
    "Ctrl-C": lambda campaign: send(signal.SIGINT, campaign.process.pid),
    "Ctrl-C, the keeper stopped": interrupt_with_stopped_keeper,
    "SIGSTOP and SIGCONT of all": stop_and_go,
    "SIGKILL of the sweep": lambda campaign: send(signal.SIGKILL, campaign.process.pid),
}
HARD: dict[str, Attack] = {
    "SIGKILL of the keeper": lambda campaign: send(signal.SIGKILL, keeper_of(campaign.project)),
    "SIGKILL of both": kill_both,
    "Ctrl-C twice": interrupt_twice,
}
GOES_ON = {"SIGSTOP and SIGCONT of all", "SIGKILL of the keeper"}


class Campaign:
    """A sweep that is attacked, resumed, and at last left alone; ``counts`` tell what was lost on the way."""

    def __init__(self, project: Project, chance: random.Random) -> None:
        self.project, self.chance = project, chance
        self.counts: Counter[str] = Counter()
        self.attacks: list[str] = []
        self.n_saved = 0
        self._promised: dict[str, int] = {}

    def fight(self, n_attacks: int) -> None:
        """Attack as often, then let the sweep end."""
        while len(self.attacks) < n_attacks and self._attack_once():
            pass
        code = start_quietly(self.project).wait(DEADLINE_S)
        self._compare_promises()
        rows = self.project.rows()
        self.counts["unfinished"] += (code != 0) + len(MODES) * N_VALUES - int((rows.state == "finished").sum())
        self.counts["doubled"] += int(rows.run_id.duplicated().sum())
        self.counts["faults"] += len(faults(self.project))
        self.counts["survivors"] += len(self.project.survivors()) + sum(map(is_alive, left_by(self.project)))
        self.counts["tracebacks"] += terminal_of(self.project).count("Traceback")

    def _attack_once(self) -> bool:
        """Start or resume, attack, and await the end; return whether there is more to do."""
        self.process = process = start_quietly(self.project)
        n_before = sum(invocations(self.project).values())
        wait_until(
            lambda: process.poll() is not None or sum(invocations(self.project).values()) > n_before, "a run has begun"
        )
        is_gentle = True
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.chance.uniform(0, 0.8))
        while process.poll() is None:
            name = self.chance.choice([*GENTLE, *HARD])
            is_gentle &= name in GENTLE
            self.attacks.append(name)
            (GENTLE | HARD)[name](self)
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.chance.uniform(0, 0.8) if name in GOES_ON else DEADLINE_S)
        if "SIGKILL of both" not in self.attacks[-1:]:
            wait_until(lambda: not self.project.survivors(), f"nothing is left alive: {self.attacks[-3:]}, {SEEDED}")
        told, saved = (set(map(tuple, lines_of(self.project, name))) for name in ("told", "saved"))
        self.n_saved += len(saved)
        self.counts["told without grace"] += len(told - saved) if is_gentle else 0
        for name in ("told", "saved"):
            (self.project.path / name).unlink(missing_ok=True)
        self._compare_promises()
        return process.returncode != 0

    def _compare_promises(self) -> None:
        seen, executed = finished(self.project), invocations(self.project)
        self.counts["lost"] += len(self._promised.keys() - seen)
        self.counts["run twice"] += sum(executed[run_id] != n for run_id, n in self._promised.items())
        self._promised |= {run_id: executed[run_id] for run_id in seen}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(N_CAMPAIGNS))
def test_no_attack_loses_doubles_or_leaves_anything_or_takes_a_grace(
    project: Project, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(project, n_slots=3, x=list(range(N_VALUES)), mode=MODES, high=[0.6])
    text = (project.path / "sweep.yaml").read_text()
    project.write("sweep.yaml", text.replace("grace: 1s", f"grace: {GRACE_S}s"))
    campaign = Campaign(project, random.Random(f"{SEED}-{number}"))
    campaign.fight(N_ATTACKS)
    lost = {what: n for what, n in campaign.counts.items() if n}
    with capsys.disabled():
        print(
            f"\nsweep {number}: {', '.join(campaign.attacks)}: {campaign.n_saved} runs saved, lost: {lost or 'nothing'}"
        )
    assert lost == {}, f"after {campaign.attacks} ({SEEDED})"
