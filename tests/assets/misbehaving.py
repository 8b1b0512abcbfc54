"""A trainer that behaves as badly as it is told to, by ``--mode``. Starts in milliseconds; standard library only."""

import os
import random
import signal
import sys
import time

options = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[1:])
mode, x = options.get("mode", "ok"), options.get("x", "0")
if mode == "any":
    mode = ("ok", "family", "daemon")[int(x) % 3]
began = time.monotonic()


def note(name, text):
    """Append one line to a file of the project, in one write."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


def be_deaf():
    """Ignore the signals that ask for an end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def save(*_):
    """Do what a trainer does on SIGTERM: save, which takes a while, and leave."""
    note("told", f"{x} {os.getpid()}")
    time.sleep(0.2)
    note("saved", f"{x} {os.getpid()}")
    sys.exit(0)


def wait_for_ever():
    """Live until somebody kills this process."""
    while True:
        signal.pause()


def spawn(*, is_deaf=False, has_session=False, is_double=False, is_scrubbed=False, is_late=False):
    """Leave a process behind that never ends by itself; return once its pid is in the file ``left``, unless late."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        if has_session:
            os.setsid()
        if is_double and os.fork() != 0:
            os._exit(0)
        if is_deaf:
            be_deaf()
        if is_scrubbed:
            os.set_inheritable(writing, True)
            script = f'echo "$0 $$" >> left; exec {writing}>&-; exec sleep 600'
            os.execve("/bin/sh", ["/bin/sh", "-c", script, mode], {})
        note("left", f"{mode} {os.getpid()}")
        os.close(writing)
        wait_for_ever()
    os.close(writing)
    if not is_late:
        os.read(reading, 1)
    os.close(reading)
    if is_double and not is_late:
        os.wait()


LEAVES = {
    "child": {},
    "deaf-child": {"is_deaf": True},
    "session": {"has_session": True},
    "daemon": {"has_session": True, "is_double": True, "is_deaf": True},
    "late-daemon": {"has_session": True, "is_double": True, "is_late": True},
    "scrubbed-child": {"is_scrubbed": True},
    "scrubbed-daemon": {"has_session": True, "is_double": True, "is_scrubbed": True},
}

if mode == "saves":
    signal.signal(signal.SIGTERM, save)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
note("invocations", f"{os.environ['SWEEPLINE_RUN_ID']} {os.getpid()} {mode} {x}")
if mode == "family":
    spawn(is_deaf=True)
    spawn(has_session=True, is_double=True)
elif mode in LEAVES:
    spawn(**LEAVES[mode])
elif mode == "deaf":
    be_deaf()
print(f"METRIC loss={float(x) + 1}", flush=True)
if mode == "suicide":
    os.kill(os.getpid(), signal.SIGKILL)
elif mode == "frozen":
    os.kill(os.getpid(), signal.SIGSTOP)
elif mode in ("hang", "silent"):
    wait_for_ever()
elif mode == "code":
    sys.exit(int(x))
if "until" in options:
    while not os.access(options["until"], os.F_OK):
        time.sleep(0.005)
elif mode not in ("instant", "late-daemon"):
    time.sleep(random.uniform(float(options.get("low", "0.05")), float(options.get("high", "0.3"))))
print(f"METRIC took={time.monotonic() - began}")
