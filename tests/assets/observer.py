"""Prints all that a program can observe of how it was started (--case=what), or ends in some way (any other case)."""

import atexit
import ctypes
import gc
import inspect
import json
import locale
import logging
import multiprocessing
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))


class Picklable:
    """Found again by name in ``__main__``."""


class Loud:
    """Says when it is finalized."""

    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("finalized", self.name)


def square(x):
    return x * x


def frozen(value):
    return json.loads(json.dumps(value, default=repr, sort_keys=True))


def what():
    main = sys.modules["__main__"]
    death = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(death), 0, 0, 0)
    subreaper = ctypes.c_int()
    ctypes.CDLL(None).prctl(37, ctypes.byref(subreaper), 0, 0, 0)
    with open("/proc/self/cmdline", "rb") as file:
        cmdline = file.read().replace(b"\0", b" ").decode().strip()
    with open("/proc/self/environ", "rb") as file:
        token = [item for item in file.read().split(b"\0") if item.startswith(b"SWEEPLINE_TOKEN=")]
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
    return {
        "argv": sys.argv,
        "orig_argv": getattr(sys, "orig_argv", None),
        "path": sys.path,
        "executable": sys.executable,
        "prefix": [sys.prefix, sys.base_prefix],
        "flags": repr(sys.flags),
        "warnoptions": sys.warnoptions,
        "filters": len(warnings.filters),
        "main": {name: repr(type(value)) for name, value in vars(main).items() if name.startswith("__")},
        "main_values": [main.__name__, main.__file__, main.__spec__, main.__package__, main.__doc__ == __doc__],
        "main_is_globals": vars(main) is globals(),
        "loader": [type(main.__loader__).__name__, main.__loader__.name, main.__loader__.path],
        "source": inspect.getsource(square),
        "pickled": type(pickle.loads(pickle.dumps(Picklable()))) is Picklable,
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "environ_of_child": sorted(subprocess.run(["env", "-0"], stdout=subprocess.PIPE).stdout.decode().split("\0")),
        "token": [item.decode() for item in token],
        "cmdline": cmdline,
        "comm": status["Name"],
        "ids": [os.getpid() == os.getsid(0), os.getpid() == os.getpgrp()],
        "parent": open("/proc/%d/comm" % os.getppid()).read(),
        "death_signal": death.value,
        "subreaper": subreaper.value,
        "masks": {name: status[name].strip() for name in ("SigBlk", "SigIgn", "SigCgt", "ShdPnd")},
        "handlers": {
            number.name: repr(signal.getsignal(number))
            for number in sorted(signal.valid_signals())
            if hasattr(number, "name")
        },
        "wakeup_fd": signal.set_wakeup_fd(-1),
        "itimer": signal.getitimer(signal.ITIMER_REAL),
        "fds": sorted(os.listdir("/proc/self/fd"))[:-1],
        "files": [os.readlink("/proc/self/fd/%d" % fd) for fd in range(3)],
        "fd_flags": [__import__("fcntl").fcntl(fd, 3) for fd in range(3)],
        "stdin": sys.stdin.read(),
        "streams": [
            [s.encoding, s.errors, s.line_buffering, s.write_through, s.isatty(), s.name, s.mode]
            for s in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "umask": [os.umask(0o22), os.umask(0o22)],
        "limits": [resource.getrlimit(number) for number in range(15)],  # the last tells runs apart
        "nice": os.nice(0),
        "affinity": sorted(os.sched_getaffinity(0)),
        "threads": [
            threading.active_count(),
            threading.current_thread() is threading.main_thread(),
            int(status["Threads"]),
        ],
        "native_id": threading.get_native_id() == os.getpid() == threading.main_thread().native_id,
        "recursion": sys.getrecursionlimit(),
        "switching": sys.getswitchinterval(),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        "locale": locale.setlocale(locale.LC_ALL),
        "encodings": [sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()],
        "hooks": [
            sys.excepthook is sys.__excepthook__,
            sys.displayhook is sys.__displayhook__,
            sys.gettrace(),
            sys.getprofile(),
        ],
        "modules_of_ours": [name for name in sys.modules if "sweepline" in name],
        "last": [hasattr(sys, name) for name in ("last_type", "last_value", "ps1")],
        "exc_info": sys.exc_info(),
        "logging": [logging.getLogger().handlers, logging.getLogger().level],
        "cpu_time_is_own": time.process_time() < 60 and sum(os.times()[:2]) < 60,
    }


def children():
    """Processes of every kind, and the text that each of them sends back."""
    results = []
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            results.append([method, pool.map(square, range(4))])
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b"forked")
        os._exit(3)
    results.append([os.read(reading, 100).decode(), os.WEXITSTATUS(os.waitpid(pid, 0)[1])])
    results.append(
        subprocess.run(
            [sys.executable, "-c", "import sys; print(sys.argv, __name__)"], stdout=subprocess.PIPE
        ).stdout.decode()
    )
    print(json.dumps(results))


def writes_lines(_=None):
    return all(stream.line_buffering and stream.write.__name__ == "write_lines" for stream in (sys.stdout, sys.stderr))


def streams():
    """How each process of a run writes out what it prints."""
    found = [writes_lines()]
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found += pool.map(writes_lines, [None])
    code = "import observer; print(observer.writes_lines())"
    print(json.dumps(found), subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE).stdout.decode())


def fail(depth=2):
    if depth:
        fail(depth - 1)
    try:
        {}["cause"]
    except KeyError as error:
        raise RuntimeError("gescheitert: ü") from error


def hooked(kind, value, trace):
    print("hook:", kind.__name__, value, len(traceback.extract_tb(trace)), sys.last_value is value)


def failing_hook(kind, value, trace):
    raise TypeError("the hook itself")


class Code:
    def __str__(self):
        return "an object as exit code"


class BadCode:
    def __str__(self):
        raise ValueError("no text")


def thread_fails():
    thread = threading.Thread(target=fail, name="a thread")
    thread.start()
    thread.join()


def thread_outlives():
    threading.Thread(target=lambda: (time.sleep(0.2), print("the thread ends last"))).start()


def daemon_thread():
    threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(int, 1)], daemon=True).start()
    print("the main thread ends")


def unclosed():
    globals()["file"] = open(os.environ["SWEEPLINE_RUN_DIR"] + "/written.txt", "w")
    globals()["file"].write("by a module that leaves it open")
    globals()["raw"] = open(os.environ["SWEEPLINE_RUN_DIR"] + "/raw.txt", "wb")
    globals()["raw"].write(b"bytes")
    globals()["_private"] = Loud("private")
    globals()["loud"] = Loud("global")
    globals()["cycle"] = [Loud("in a cycle")]
    globals()["cycle"].append(globals()["cycle"])


def hold(code=None):
    """End from within a function that holds a file which is not written out, and an object that tells of its end."""
    held = open(os.environ["SWEEPLINE_RUN_DIR"] + "/written.txt", "w")
    held.write("by a function that leaves it open")
    loud = Loud("local")
    if code is None:
        raise LookupError(loud.name)
    sys.exit(code)


def exits():
    atexit.register(print, "first registered")
    atexit.register(lambda: sys.exit(9))
    atexit.register(fail)
    atexit.register(print, "last registered", flush=True)
    ctypes.CDLL(None).puts(b"buffered by C")


def close_stdout():
    print("never seen")
    os.close(1)


def unraisable():
    class Bad:
        def __del__(self):
            raise ValueError("in a finalizer")

    Bad()
    globals()["bad"] = Bad()


def forked_end():
    pid = os.fork()
    print("forked child" if pid == 0 else "parent %d" % os.WEXITSTATUS(os.waitpid(pid, 0)[1]), flush=True)
    atexit.register(print, "at exit of", "child" if pid == 0 else "parent", flush=True)
    sys.exit(5 if pid == 0 else 6)


def deep():
    def down(n):
        return down(n + 1)

    try:
        down(0)
    except RecursionError as error:
        print(error)
    sys.setrecursionlimit(3000)
    down(0)


def warned():
    warnings.simplefilter("always")
    warnings.warn("seen", stacklevel=1)
    warnings.warn("one above", stacklevel=2)
    logging.basicConfig(level=logging.INFO)
    logging.info("logged")
    logging.getLogger("x").exception("without")


def interrupted():
    def later():
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=later).start()
    time.sleep(20)


def randoms():
    print(random.random(), os.urandom(4).hex())


CASES = {
    "children": children,
    "streams": streams,
    "normal": lambda: print("METRIC loss=1"),
    "exit_none": lambda: sys.exit(),
    "exit_3": lambda: sys.exit(3),
    "exit_true": lambda: sys.exit(True),
    "exit_minus_1": lambda: sys.exit(-1),
    "exit_256": lambda: sys.exit(256),
    "exit_huge": lambda: sys.exit(2**80),
    "exit_text": lambda: sys.exit("a text as exit code"),
    "exit_object": lambda: sys.exit(Code()),
    "exit_bad_object": lambda: sys.exit(BadCode()),
    "exit_float": lambda: sys.exit(1.5),
    "exit_in_thread": lambda: threading.Thread(target=sys.exit, args=(4,)).start(),
    "raise_exit": lambda: (_ for _ in ()).throw(SystemExit(7)),
    "os_exit": lambda: (print("flushed", flush=True), atexit.register(print, "never"), os._exit(8)),
    "abort": os.abort,
    "segfault": lambda: ctypes.string_at(0),
    "sigterm": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "interrupt": interrupted,
    "raise_interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt("by hand")),
    "fail": fail,
    "group": lambda: (_ for _ in ()).throw(ExceptionGroup("several", [ValueError(1), TypeError(2)])),
    "base_exception": lambda: (_ for _ in ()).throw(GeneratorExit("odd")),
    "hook": lambda: (setattr(sys, "excepthook", hooked), fail()),
    "failing_hook": lambda: (setattr(sys, "excepthook", failing_hook), fail()),
    "no_hook": lambda: (delattr(sys, "excepthook"), fail()),
    "hook_exits": lambda: (setattr(sys, "excepthook", lambda *_: sys.exit(11)), fail()),
    "no_stderr": lambda: (setattr(sys, "stderr", None), fail()),
    "thread_fails": thread_fails,
    "thread_outlives": thread_outlives,
    "daemon_thread": daemon_thread,
    "unclosed": unclosed,
    "exits": exits,
    "exit_holding": lambda: hold(3),
    "fail_holding": hold,
    "close_stdout": close_stdout,
    "unraisable": unraisable,
    "forked_end": forked_end,
    "deep": deep,
    "warned": warned,
    "memory": lambda: [0] * 2**60,
    "print_stack": lambda: traceback.print_exc(),
    "exec": lambda: os.execv("/bin/echo", ["echo", "another program"]),
    "binary_output": lambda: (
        sys.stdout.buffer.write(b"\xff\x00\r\n"),
        print("\udcff".encode("utf-8", "surrogateescape")),
    ),
    "chdir": lambda: (os.chdir("/"), print(os.getcwd())),
    "locals": lambda: print(sorted(name for name in globals() if name.startswith("__"))),
    "import_own": lambda: print(__import__("own_module").__file__, __import__("own_module").NAME),
    "reimport_main": lambda: print(__import__("observer").__name__),
}

if __name__ == "__main__":
    case = sys.argv[1].partition("=")[2]
    if case == "what":
        print(json.dumps(frozen(what()), indent=1, sort_keys=True))
    else:
        CASES[case]()
