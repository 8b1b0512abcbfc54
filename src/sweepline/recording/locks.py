"""Who may write a sweep's folder: one orchestrator, and before the next one every process of the last is gone."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path
from sweepline.errors import RecordError, SweepLockedError, record_error
from sweepline.executors.local.keeper import processes
from sweepline.recording.mounts import find_network_mount

LOCK, KEEPER_LOCK, OWNER = "sweep.lock", "keeper.lock", "sweep.owner"
_AFTER_GRACE_S = 10.0
POLL_S = 0.02
_HOLDER_TRIES = 50
_STRAYS_S = 2.0
_OWNER_ONLY = 0o600  # whoever can open a lock file can hold it


class SweepLock:
    """The orchestrator's lock: a flock, which the kernel frees when its holder dies, whatever way.

    On file systems of several machines, where a flock may not reach the others, a folder ``sweep.owner`` names the
    machine as well. It is never taken from another machine unless the user says so.
    """

    def __init__(self, folder: Path, *, is_shared: bool | None = None) -> None:
        self.folder = folder
        self.network = find_network_mount(folder) if is_shared is None else ("network" if is_shared else None)
        self._fd: int | None = None
        self._owns_folder = False
        self._record: dict[str, object] = {}

    def take(self, *, take_over: bool = False) -> None:
        """Become the only writer until this process ends.

        Raises:
            SweepLockedError: another process is; the text names it.
            RecordError: the lock cannot be made.
        """
        path = self.folder / LOCK
        fd = self._open(path)
        try:
            with suppress(PermissionError):  # of an older version, and somebody else's
                os.fchmod(fd, _OWNER_ONLY)
            if self.network is not None:
                self._take_owner(take_over=take_over)
            os.ftruncate(fd, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.pwrite(fd, f"pid {os.getpid()} on {socket.gethostname()} since {since}".encode(), 0)
        except OSError as error:
            os.close(fd)
            raise record_error(path, "cannot be written", error) from None
        except SweepLockedError:
            os.close(fd)
            raise
        self._fd = fd

    def _open(self, path: Path) -> int:
        """Return the lock file, held; where its last holder removed it, the one that is there now."""
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _OWNER_ONLY)
            except OSError as error:
                raise record_error(path, "cannot be written", error) from None
            if not try_flock(fd):
                holder = _describe_holder(_read_holder(fd), path)
                os.close(fd)
                raise SweepLockedError(holder)
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)
            with suppress(OSError):  # which opening it tells
                self.folder.mkdir(exist_ok=True)

    def remove(self) -> None:
        """Remove the lock file while it is held: whoever waits for it then makes another."""
        (self.folder / LOCK).unlink(missing_ok=True)

    def restore(self) -> str | None:
        """Make the lock anew where it was removed or replaced; return a sentence then.

        Raises:
            SweepLockedError: another process has made it anew, and holds it.
        """
        assert self._fd is not None
        path, ours = self.folder / LOCK, os.fstat(self._fd)
        try:
            seen = path.stat(follow_symlinks=False)
        except OSError:
            seen = None
        if seen is not None and (seen.st_dev, seen.st_ino) == (ours.st_dev, ours.st_ino):
            return None
        old_fd = self._fd
        self.take(take_over=True)
        os.close(old_fd)
        return f"{LOCK} was removed while the sweep runs; it is there again"

    def give_back(self) -> None:
        """Let others write."""
        if self._owns_folder:
            self._owns_folder = False
            if _read_json(self.folder / OWNER / "owner.json") == self._record:  # not taken over meanwhile
                with suppress(OSError):  # somebody has cleared it away already
                    (self.folder / OWNER / "owner.json").unlink()
                    (self.folder / OWNER).rmdir()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _take_owner(self, *, take_over: bool) -> None:
        """Make the folder that only one machine can make; one of this machine's dead is taken without asking.

        So is that of an earlier life of the job that this process is in: Slurm has ended it before it began this one.
        """
        path = self.folder / OWNER
        host = socket.gethostname()
        try:
            path.mkdir()
        except FileExistsError:
            owner = _read_json(path / "owner.json")
            if owner.get("host") != host and not take_over and not _is_earlier_life(owner.get("job")):
                who = f"pid {owner.get('pid', '?')} on {owner.get('host', 'another machine')}"
                raise SweepLockedError(
                    f"this sweep is being run by {who} since {owner.get('since', '?')} ({display_path(path)}); "
                    "if that machine no longer runs it, start again with --take-over"
                ) from None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._record = {"host": host, "pid": os.getpid(), "since": since, "job": _own_job()}
        write_whole(path / "owner.json", json.dumps(self._record).encode())
        self._owns_folder = True


def _own_job() -> list[str] | None:
    """Return the job of Slurm that this process is in, and how often that was started before."""
    job = os.environ.get("SLURM_JOB_ID")
    return [job, os.environ.get("SLURM_RESTART_COUNT", "0")] if job else None


def _is_earlier_life(job: object) -> bool:
    own = _own_job()
    return own is not None and isinstance(job, list) and len(job) == 2 and job[0] == own[0] and job[1] != own[1]


class KeeperLock:
    """Held by the keeper of a sweep as long as any of its runs may live, also after its orchestrator has died."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / KEEPER_LOCK
        self.fd: int | None = None
        self._record: dict[str, object] = {}

    def take(self, token: str, *, say: Callable[[str], None]) -> None:
        """Wait until an earlier start's processes have ended, end what hides, and write down the new ``token``.

        Call only with the sweep's lock in hand.

        Raises:
            RecordError: the lock cannot be used, or processes of an earlier start cannot be ended.
        """
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise record_error(self.path, "cannot be written", error) from None
        earlier = _read_json(self.path)
        old_token = str(earlier.get("token", ""))
        if not try_flock(fd, tries=1):
            grace_s = earlier.get("grace_s")
            limit_s = (grace_s if isinstance(grace_s, (int, float)) else 20.0) + _AFTER_GRACE_S
            say(f"runs of an earlier start are still being stopped; waiting up to {limit_s:.0f} s for them")
            for pid in processes.find_by_token(old_token):
                processes.kill(pid, signal.SIGCONT)  # a keeper that is suspended could not stop them
            if not try_flock(fd, tries=round(limit_s / POLL_S)):
                processes.kill_by_token(old_token)
        n_killed = end_strays(old_token) if old_token else 0
        if n_killed:
            say(f"{n_killed} processes of an earlier start were still alive, killed")
        for pid in processes.find_by_token(old_token):
            say(f"process {pid} of an earlier start cannot be ended: it is another user's, or hangs in the kernel")
        if not try_flock(fd, tries=round(_AFTER_GRACE_S / POLL_S)):
            os.close(fd)
            raise RecordError(f"{display_path(self.path)}: processes of an earlier start cannot be ended")
        self.fd = fd
        self.write(token, grace_s=0.0)

    def write(self, token: str, *, grace_s: float) -> None:
        """Write down what marks the processes of this start, where they are, and how long they may take to end."""
        self._record = {"token": token, "grace_s": grace_s, **_place(), "is_marked": processes.can_mark()}
        try:
            self._write_record()
        except OSError as error:
            raise record_error(self.path, "cannot be written", error) from None

    def give_back(self) -> None:
        """Close the lock, which is free once the keeper has ended too; write down when nothing of it is left."""
        if self.fd is not None:
            token = str(self._record.get("token", ""))
            if token and not processes.find_by_token(token):
                self._record["is_over"] = True
                with suppress(OSError):  # then the next start looks again
                    self._write_record()
            os.close(self.fd)
            self.fd = None

    def _write_record(self) -> None:
        assert self.fd is not None
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(self._record).encode(), 0)


def end_strays(token: str) -> int:
    """Kill everything that carries a token until nothing does; return how many processes that took."""
    killed: set[int] = set()
    until = time.monotonic() + _STRAYS_S
    while (found := processes.kill_by_token(token)) and time.monotonic() < until:
        killed |= found
        time.sleep(POLL_S)
    return len(killed)


def read_keeper_token(folder: Path) -> str:
    """Return the token of a sweep's last start; empty when there was none."""
    return str(_read_json(folder / KEEPER_LOCK).get("token", ""))


def _read_holder(fd: int) -> str:
    """Return who a lock file says holds it; whoever has just taken it may not have written that yet."""
    for _ in range(_HOLDER_TRIES):
        text = os.pread(fd, 500, 0).decode("utf-8", "replace").strip()
        if text:
            return text
        time.sleep(POLL_S)
    return ""


def _describe_holder(written: str, path: Path) -> str:
    """Return who holds a lock, as far as its text tells it truly."""
    found = re.match(r"pid (\d+) on (\S+) since", written)
    if found and found[2] == socket.gethostname() and not Path(f"/proc/{found[1]}").exists():
        return (
            f"{display_path(path)} is held by a process that does not run this sweep (pid {found[1]}, which did, is "
            f"gone): lslocks tells which"
        )
    return f"this sweep is being run by {written or 'another process'} (lock {display_path(path)})"


def why_unseen(folder: Path) -> str | None:
    """Return why processes of a sweep's last start may live that are not found from here; None when none can."""
    told = _read_json(folder / KEEPER_LOCK)
    here = _place()
    if told.get("is_over") or "host" not in told:  # an older version's, which did not tell
        return None
    if told["host"] != here["host"]:
        return (
            f"the last start was on {told['host']}: whether a process is left there cannot be told from {here['host']}"
        )
    if told["boot_id"] != here["boot_id"]:
        return None  # whatever lived then is gone
    if told["pid_namespace"] != here["pid_namespace"] or not processes.can_see_itself():
        return "the last start was in another container: whether a process is left there cannot be told from here"
    if not told.get("is_marked"):
        return (
            "the last start was killed, keeper and all, where processes cannot be marked (by a limit of real-time "
            "processor time): whether one is left that changed its environment cannot be told"
        )
    return None


def _place() -> dict[str, object]:
    """Return where processes can be told apart by what /proc says of them."""
    return {
        "host": socket.gethostname(),
        "boot_id": _read_line("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": _inode("/proc/self/ns/pid"),
    }


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return 0


def _read_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def is_held(path: Path) -> bool | None:
    """Whether somebody holds a lock file now, for readers; None where that cannot be told."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    else:
        return False
    finally:
        os.close(fd)


@contextmanager
def read_locked(folder: Path) -> Iterator[None]:
    """Keep a sweep from being started while its folder is read. Nothing is written there.

    Raises:
        SweepLockedError: it runs, or runs of it live on; on another machine too, as far as a shared folder tells.
    """
    owner = _read_json(folder / OWNER / "owner.json")
    if owner and owner.get("host") != socket.gethostname() and find_network_mount(folder) is not None:
        raise SweepLockedError(
            f"this sweep is being run by pid {owner.get('pid', '?')} on {owner.get('host', 'another machine')} since "
            f"{owner.get('since', '?')} ({display_path(folder / OWNER)})"
        )
    with ExitStack() as held:
        with suppress(OSError):  # there is no lock, or one that only its owner may open, or the file system has none
            fd = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SweepLockedError(_describe_holder(_read_holder(fd), folder / LOCK)) from None
        if is_held(folder / KEEPER_LOCK):
            raise SweepLockedError(f"its runs are still being stopped (lock {display_path(folder / KEEPER_LOCK)})")
        yield


def try_flock(fd: int, *, tries: int = 5) -> bool:
    """Take a lock; tried a few times, because a reader (:func:`is_held`) holds it for an instant."""
    for i in range(tries):
        if i:
            time.sleep(POLL_S)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def _read_json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
