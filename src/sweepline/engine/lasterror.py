"""From the end of a run's logs to the error that ended it: an exception, a crash, a refusal. Text alone, no state.

An error is followed by hints, trailers, the words of a launcher; it may stand in either stream. What a program has
caught, and gone on from, is not what ended it.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.contract import outofmemory
from sweepline.contract.files import open_plain
from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.contract.text import printable, strip_escapes

_TAIL_BYTES = 128 * 1024  # of each stream
_MAX_LINE_CHARS = 16 * 1024
_MAX_READ_CHARS = 1000  # of a line, to tell what it is
_MAX_BLOCK_LINES, _MAX_FRAME_LINES = 60, 2000
_N_AFTER = 2  # lines of the tail that follow the error

GPU_LOST = re.compile(
    r"CUDA error: (?:unspecified launch failure|an illegal instruction|unknown error)|fallen off the bus"
    r"|CUDA-capable device\(s\) is/are busy or unavailable|uncorrectable ECC error"
    r"|Unable to determine the device handle"
)

_PREFIX = re.compile(
    r"^(?:\[(?:rank|default|local_rank)?\d+\]:? ?|\[\d+,\d+\]<std(?:err|out)>: ?"
    r"|\([\w.:]+ pid=\d+[^)]*\) ?|\d+: (?=\S))"
)
_GROUP_PREFIX = re.compile(r"^\s*[|+] ")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_FRAME = re.compile(r"^(\s*)(?:> )?File \"")
_CAUSE = "The above exception was the direct cause of the following exception:"
_UNRAISABLE = ("Exception ignored in", "--- Logging error ---")
_EXCEPTION = re.compile(
    r"^[A-Za-z_][\w.]*(?:Error|Exception|ExceptionGroup|Interrupt|Exit|Failure)(?:\([\w.]+\))?(?::|$)"
)
_LAUNCHERS = re.compile(
    r"^(?:[\w.]*\.)?(?:ChildFailedError|CalledProcessError|ProcessExitedException|ProcessRaisedException"
    r"|SignalException)\b"
    r"|torch/distributed/(?:elastic|run)|^(?:make|srun|slurmstepd|npm|conda)\b|conda\.cli\.main_run|`conda run"
)
_CRASH = re.compile(
    r"^terminate called after|^Fatal Python error: |^(?:panic|fatal error|fatal): "
    r"|^thread '.*' (?:\(\d+\) )?panicked at "
    r"|(?:^|[\s:])(?:Segmentation fault|Bus error|Illegal instruction|Floating point exception|Aborted)"
    r"(?: *\(core dumped\))?(?:\s{2,}\S.*)?$"
    r"|^F\d{4} \d\d:\d\d:\d\d|\[(?:fatal|FATAL|Fatal)\]|\b(?:FATAL|CRITICAL)\b|: line \d+: +\d+ Killed\b"
    r"|: (?:\d+: )?\S+: (?:command )?not found$|: (?:No such file or directory|Permission denied)$|: cannot execute\b"
    r"|can't open file|: syntax error\b|^\S[^:]*: error: |^Error: |^Exception in thread \"main\""
)
_ERROR = re.compile(r"\bERROR\b|^traceback : Signal |\b[Ee]rror: |^Error in |^\W*(?:error|failed|fatal)\b:?", re.ASCII)
_WENT_ON = re.compile(
    r"\bMETRIC [A-Za-z_]|\b(?:retry(?:ing)?|try(?:ing)? again|halving|halved|reduc(?:e|ing)|skipping|falling back"
    r"|recover(?:ed|ing)|continuing)\b",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"^wandb: |HYDRA_FULL_ERROR|CUDA_LAUNCH_BLOCKING|TORCH_USE_CUDA_DSA|CUDA kernel errors might be|RUST_BACKTRACE"
    r"|^[\W_]*$|(?<!\d)\d{1,3}%\||\bit/s\b|\bs/it\b|^\s+at |^goroutine \d|^exit status \d|^Execution halted"
    r"|^Stacktrace:|Warning: |resource_tracker|^Try '.*' for help|^Search for `cudaError|^(?:usage|Usage): .*\[",
)
_HYDRA_TRAILER = re.compile(r"^Set the environment variable HYDRA_FULL_ERROR=1")
_HYDRA_REFUSAL = re.compile(
    r"^(?:Could not |In '.*': |Multiple values for |Error (?:merging|parsing) |Ambiguous value |no viable alternative "
    r"|mismatched input |\S+ appears more than once |Primary config |Cannot find primary config )"
)
_HYDRA_ADVICE = re.compile(
    r"^(?:To append to your config|Either remove \+ prefix|Value '.*' of type |Check that it's )"
)
_BOX_TOP = re.compile(r"^\s*+[╭┌╔┏+]([─═━\-]++.*)[╮┐╗┓+]\s*+$")
_BOX_BOTTOM = re.compile(r"^\s*+[╰└╚┗+][─═━\-]++.*[╯┘╝┛+]\s*+$")
_BOX_RULE = " ─═━-"
_BOX_TITLE = re.compile(r"error|required|unrecogni[sz]ed|invalid|missing|fail", re.IGNORECASE)
_BOX_SIDES = "│┃║| \t"

_WORDS = (  # one of which every line has that one of the expressions takes
    *(
        "error",
        "exce",
        "traceback",
        "terminate",
        "panic",
        "fatal",
        "fault",
        "interrupt",
        "exit",
        "instruction",
        "abort",
    ),
    *("critical", "killed", "not found", "no such", "denied", "cannot", "can't", "memory", "oom", "fail", "exhausted"),
    *("alloc", "cuda", "device", "fallen off", "ecc", "bus", "signal", "floating", "╭", "┌", "╔", "┏"),
)

_UNCAUGHT, _TOLD, _LAUNCHER, _LAST, _HINT, _NOTHING = 5, 4, 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class LoggedError:
    """The error that ended a run. ``block`` is its whole text with its causes, ``tail`` the lines that lead to it."""

    text: str
    block: str
    tail: Sequence[str]
    rank: int


def find_error(run_dir: Path, n_lines: int = 20) -> LoggedError:
    """Return the error that ended a run, or the last line that says anything where there is none."""
    found = [_last_error(_read_lines(run_dir / name), n_lines) for name in (STDERR, STDOUT)]
    return max(found, key=lambda error: error.rank)


def _read_lines(path: Path) -> list[str]:
    try:
        with open_plain(path) as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:  # gone, or made unreadable by the run itself
        return []
    return [line[-_MAX_LINE_CHARS:] for line in re.split(r"[\r\n]+", strip_escapes(text).rstrip())]


@dataclass(slots=True)
class _Place:
    """Where an error stands: from its first line to its last, the line that names it, and what it says."""

    rank: int
    first: int
    at: int
    end: int
    text: str


def _last_error(raw: Sequence[str], n_lines: int) -> LoggedError:
    if not any(line.strip() for line in raw):
        return LoggedError("", "", [], _NOTHING)
    lines = [_PREFIX.sub("", line) for line in raw]
    place = _find_place(lines)
    if place is None:
        loud = [i for i, line in enumerate(lines) if line.strip() and not _is_noise(lines, i)]
        at = loud[-1] if loud else max(i for i, line in enumerate(lines) if line.strip())
        tail, rank = raw[-n_lines:], _LAST if loud else _HINT
        if at < len(raw) - n_lines:
            tail = raw[max(0, at + 1 - n_lines) : at + 1]
        return LoggedError(lines[at].strip(), "", [printable(line) for line in tail], rank)
    last = min(place.at + 1 + _N_AFTER, len(raw))
    block = "\n".join(line.strip() for line in lines[place.first : place.end])
    tail = [printable(line) for line in raw[max(0, last - n_lines) : last]]
    return LoggedError(place.text, block, tail, place.rank)


def _find_place(lines: Sequence[str]) -> _Place | None:
    found: _Place | None = None
    bottoms = [at for at, line in enumerate(lines) if _BOX_BOTTOM.match(line)]
    at = 0
    while at < len(lines):
        place = _place_at(lines, at, found, bottoms)
        if place is not None:
            if place.rank >= (found.rank if found else _HINT):
                found = place
            at = max(at, place.at)
        elif found is not None and at >= found.at and _WENT_ON.search(lines[at][:_MAX_READ_CHARS]):
            found = None  # the program lived on
        at += 1
    return found


def _place_at(lines: Sequence[str], at: int, earlier: _Place | None, bottoms: Sequence[int]) -> _Place | None:
    """Return the error that begins at a line, if one does; ``bottoms`` are the lines that may end a box."""
    line = lines[at][:_MAX_READ_CHARS]
    lowered = line.lower()
    if not any(word in lowered for word in _WORDS) and not line.lstrip().startswith(("+", "F")):
        return None
    if (box := _BOX_TOP.match(line)) is not None:
        return _read_box(lines, at, box.group(1).strip(_BOX_RULE), bottoms)
    if _TRACEBACK.search(line):
        return _read_traceback(lines, at, earlier)
    if _HYDRA_TRAILER.match(line):
        return _read_hydra(lines, at, earlier)
    text = line.strip()
    if not text or _NOISE.search(line) or _WENT_ON.search(line):
        return None
    if _LAUNCHERS.search(text):
        return _Place(_LAUNCHER, at, at, at + 1, text) if _ERROR.search(text) or _EXCEPTION.match(text) else None
    if _CRASH.search(text):
        text = _with_next(lines, at, text)
        return _Place(_UNCAUGHT, at, at, _end_of_message(lines, at), text)
    if _EXCEPTION.match(line):
        return _Place(_UNCAUGHT, at, at, _end_of_message(lines, at), text)
    if outofmemory.IN_LOG.search(text) or GPU_LOST.search(text) or (_ERROR.search(text) and "Warning" not in text):
        return _Place(_TOLD, at, at, at + 1, _with_next(lines, at, text).removeprefix("traceback : "))
    return None


def _read_traceback(lines: Sequence[str], at: int, earlier: _Place | None) -> _Place | None:
    """Return the exception of a Python traceback: the first line that is less indented than the frames."""
    indent = None
    for n, raw in enumerate(lines[at + 1 : at + _MAX_FRAME_LINES]):
        line = _GROUP_PREFIX.sub("", raw)
        if indent is None:
            frame = _FRAME.match(line)
            indent = len(frame.group(1)) + 2 * ("> File" in line[:9] and not frame.group(1)) if frame else None
            if indent == 0 or (frame is None and line.strip() and n > 2):
                return None
        elif line.strip() and len(line) - len(line.lstrip(" >")) < indent:
            return _as_place(lines, at, at + 1 + n, earlier)
        elif _TRACEBACK.match(line.lstrip()):
            return None  # this one was cut off
    return None


def _as_place(lines: Sequence[str], start: int, at: int, earlier: _Place | None) -> _Place:
    text = _GROUP_PREFIX.sub("", lines[at]).strip()
    before = " ".join(lines[max(0, start - 3) : start])
    rank = _UNCAUGHT
    if any(words in before for words in _UNRAISABLE):
        rank = _LAST
    elif _LAUNCHERS.search(text):
        rank = _LAUNCHER
    first = start
    if earlier is not None and (_CAUSE in before or _GROUP_PREFIX.match(lines[start])):
        first = earlier.first
    if text.endswith(":"):
        text = _with_next(lines, at, text)
    return _Place(rank, first, at, _end_of_message(lines, at), text)


def _with_next(lines: Sequence[str], at: int, text: str) -> str:
    """Return the line with its message, where that stands on the next one."""
    following = next((line.strip() for line in lines[at + 1 : at + 3] if line.strip()), "")
    if following.startswith("what():"):
        return f"{text}: {following}"
    is_open = text.endswith(":") and not _NOISE.search(following) and not _TRACEBACK.search(following)
    return f"{text} {following}".strip() if is_open else text


def _end_of_message(lines: Sequence[str], at: int) -> int:
    end = at + 1
    while end < min(len(lines), at + _MAX_BLOCK_LINES):
        if _TRACEBACK.search(lines[end]) or _EXCEPTION.match(lines[end]) or _WENT_ON.search(lines[end]):
            break
        end += 1
    return end


def _read_hydra(lines: Sequence[str], at: int, earlier: _Place | None) -> _Place | None:
    """Return what Hydra refuses in a config or an override: it stands above the trailer, without a traceback."""
    if earlier is not None and earlier.rank >= _UNCAUGHT:
        return None
    above = range(at - 1, max(-1, at - _MAX_BLOCK_LINES), -1)
    first = next((i for i in above if _HYDRA_REFUSAL.match(lines[i])), None)
    if first is None:
        return None
    has_advice = first + 1 < at and _HYDRA_ADVICE.match(lines[first + 1]) is not None
    text = " ".join(line.strip() for line in lines[first : first + 1 + has_advice])
    return _Place(_UNCAUGHT, first, min(first + 2, at - 1), at, text)


def _read_box(lines: Sequence[str], at: int, title: str, bottoms: Sequence[int]) -> _Place | None:
    """Return what stands in a frame drawn round an error; the frame of a traceback is only passed over."""
    n_before = bisect.bisect_right(bottoms, at)
    if n_before == len(bottoms):
        return None
    end = bottoms[n_before]
    if end - at >= _MAX_FRAME_LINES:
        return None
    if not _BOX_TITLE.search(title):
        is_traceback = _TRACEBACK.search(title) is not None
        return _Place(_NOTHING, at, end, end + 1, title) if is_traceback else None
    words = [line.strip(_BOX_SIDES) for line in lines[at + 1 : min(end, at + 6)]]
    said = itertools.takewhile(lambda word: not word or re.search(r"\w", word), words)  # to a rule across the box
    return _Place(_UNCAUGHT, at, end, end + 1, " ".join(word for word in said if word) or title)


def _is_noise(lines: Sequence[str], at: int) -> bool:
    """Whether a line tells nothing of why a run ended: a hint, a bar, a rule, a warning and the code it stands at."""
    return bool(_NOISE.search(lines[at][:_MAX_READ_CHARS])) or (
        at > 0 and lines[at].startswith("  ") and "Warning: " in lines[at - 1]
    )
