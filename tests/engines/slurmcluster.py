"""A throw-away Slurm cluster of several virtual nodes with GPUs that are none, on this machine alone.

Debian's build of Slurm runs several ``slurmd`` on one host. Needs root, and the packages slurm-wlm and munge.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

N_CPUS = 16
_START_S = 60.0
_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun", "scontrol")


def why_not() -> str:
    """Return why no cluster can be started here; nothing where one can."""
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install slurm-wlm munge)"
    return "" if os.getuid() == 0 else "only root can start the daemons of Slurm"


def find_ports(n: int) -> int:
    """Return the first of ``n`` ports in a row that nobody uses."""
    for first in range(21000 + os.getpid() % 8000, 60000, n):
        sockets = [socket.socket() for _ in range(n)]
        try:
            for i, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + i))
        except OSError:
            continue
        else:
            return first
        finally:
            for one in sockets:
                one.close()
    raise RuntimeError("no free ports")


@dataclass
class SlurmCluster:
    """The daemons of a cluster in ``folder``: nodes n1, n2, ... with ``n_gpus`` each.

    ``extra`` are further lines of its configuration.
    """

    folder: Path
    n_nodes: int = 2
    n_gpus: int = 4
    extra: str = ""
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment in which Slurm's commands find it."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start everything, and return once all nodes are there."""
        for name in ("state", "log", "dev", "sock"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "sock").chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        for i in range(self.n_gpus):  # Slurm wants character devices
            os.mknod(self.folder / "dev" / f"gpu{i}", 0o020666, os.makedev(1, 3))
        self._write_config()
        self._start(
            "munged",
            ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self._socket}"]
            + [f"--{kind}-file={self.folder / f'munge.{kind}'}" for kind in ("pid", "seed", "log")],
        )
        self._wait(self._socket.exists, "munged")
        self.start_controller()
        for i in range(1, self.n_nodes + 1):
            self.start_node(f"n{i}")
        self._wait(lambda: self.count_nodes("idle") == self.n_nodes, "the nodes")

    def start_controller(self) -> None:
        """Start slurmctld."""
        self._start("slurmctld", ["slurmctld", "-D", "-f", str(self.folder / "slurm.conf")])

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        self._start(name, ["slurmd", "-D", "-N", name, "-f", str(self.folder / "slurm.conf")])

    def kill(self, name: str) -> None:
        """Kill a daemon: that of a node, by its name, or slurmctld."""
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def call(self, *words: str) -> str:
        """Return what one of Slurm's commands prints."""
        return subprocess.run(words, env=self.environ, capture_output=True, text=True, check=True).stdout

    def settle(self) -> None:
        """End all jobs, and return once all nodes are as they were at first."""
        self.call("scancel", "-Q", "-u", "root")
        self._wait(lambda: self.call("squeue", "-h") == "", "an end of all jobs")
        until = time.monotonic() + _START_S
        while self.count_nodes("idle") < self.n_nodes and time.monotonic() < until:
            words = ["scontrol", "update", f"NodeName=n[1-{self.n_nodes}]", "State=resume"]  # refused where it is idle
            subprocess.run(words, env=self.environ, capture_output=True, check=False)
            time.sleep(0.2)
        assert self.count_nodes("idle") == self.n_nodes, self.call("sinfo", "-N", "-l")

    def count_nodes(self, state: str) -> int:
        """Return how many nodes are in a state."""
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-p", "normal", "-o", "%T"],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split().count(state)

    def stop(self) -> None:
        """End everything that runs on it, and its daemons."""
        if "slurmctld" in self.daemons:
            subprocess.run(["scancel", "-Q", "-u", "root"], env=self.environ, check=False)
            time.sleep(0.5)
        for daemon in self.daemons.values():
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    @property
    def _socket(self) -> Path:
        return self.folder / "sock" / "munge"

    def _start(self, name: str, words: list[str]) -> None:
        log = (self.folder / "log" / f"{name}.out").open("ab")
        self.daemons[name] = subprocess.Popen(
            words, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def _wait(self, is_met: object, what: str) -> None:
        assert callable(is_met)
        until = time.monotonic() + _START_S
        while not is_met():
            assert time.monotonic() < until, f"{what} of the cluster did not start; see {self.folder / 'log'}"
            time.sleep(0.05)

    def _write_config(self) -> None:
        host, first = socket.gethostname().partition(".")[0], find_ports(self.n_nodes + 1)
        own = self.folder
        settings = {
            "ClusterName": "throwaway",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": first,
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self._socket},cred_expire=5",
            "CredType": "cred/munge",
            "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
            "StateSaveLocation": own / "state",
            "SlurmdSpoolDir": own / "spool-%n",
            "SlurmctldPidFile": own / "slurmctld.pid",
            "SlurmdPidFile": own / "slurmd-%n.pid",
            "SlurmctldLogFile": own / "log" / "slurmctld.log",
            "SlurmdLogFile": own / "log" / "slurmd-%n.log",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none",
            "MpiDefault": "none",
            "SwitchType": "switch/none",
            "ReturnToService": 2,
            "SlurmdTimeout": 10,
            "InactiveLimit": 0,
            "KillWait": 5,
            "MinJobAge": 300,
            "SchedulerType": "sched/backfill",
            "SchedulerParameters": "sched_min_interval=20000,bf_interval=2",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_CPU",
            "SlurmdParameters": "config_overrides",
            "GresTypes": "gpu",
            "MaxArraySize": 1001,
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
        }
        nodes = {
            "NodeName": f"n[1-{self.n_nodes}]",
            "NodeHostname": host,
            "NodeAddr": "127.0.0.1",
            "Port": f"[{first + 1}-{first + self.n_nodes}]",
            "CPUs": N_CPUS,
            "RealMemory": 64000,
            "Gres": f"gpu:{self.n_gpus}",
            "State": "UNKNOWN",
        }
        lines = [f"{key}={value}" for key, value in settings.items()]
        lines.append(" ".join(f"{key}={value}" for key, value in nodes.items()))
        for name, tier in (("normal", 1), ("urgent", 10)):
            default = "YES" if name == "normal" else "NO"
            lines.append(
                f"PartitionName={name} Nodes=ALL Default={default} PriorityTier={tier} DefMemPerCPU=100 State=UP"
            )
        (own / "slurm.conf").write_text("\n".join([*lines, self.extra]) + "\n")
        (own / "gres.conf").write_text(f"Name=gpu File={own / 'dev'}/gpu[0-{self.n_gpus - 1}]\n")
