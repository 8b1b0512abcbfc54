"""The journal ``events.jsonl``: one writer, one write per line, on disk before anything else tells of a run's end."""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import operator
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sweepline.contract.files import write_all, write_whole
from sweepline.errors import RecordError, SweepLockedError, record_error

VERSION = 2
_UNSEALED_VERSION = 1  # whose lines have no checksum
_SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"\}$')
JOURNAL = "events.jsonl"
QUARANTINE = "quarantine"
_CHUNK_BYTES = 1 << 16
_FLOAT_TAG, _NON_FINITE = "float", ("nan", "inf", "-inf")
_TAGGED = b'"float"'
_REMEDY = "restore the file from a copy, or have sweepline repair make it anew from the run folders"


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two events: bytes before it, their checksum, and the number of the event that follows."""

    offset: int = 0
    seq: int = 0
    crc32: int = 0


START = Position()


class Journal:
    """The writing end. Opening it cuts an unfinished last line into ``quarantine/``.

    The file is locked beside ``sweep.lock``, which people remove when a tool says that something is locked, and looked
    at before each event: synchronizers, editors and version control replace files. ``note`` tells of that.
    """

    def __init__(
        self, path: Path, *, take: Callable[[Mapping[str, Any]], None] | None = None, after: Position = START
    ) -> None:
        """Open the journal; ``take`` is handed every event that it already holds, from a position on.

        Raises:
            SweepLockedError: another process writes it.
            RecordError: see :func:`read_events`; the file is left as it is.
        """
        self.path = path
        self.note: str | None = None
        self._seq, self._crc32 = after.seq, after.crc32
        self._use(_open_locked(path))
        try:
            for event, line in _read_lines(path, after):  # a damaged file is refused before anything is changed
                self._seq, self._crc32 = event["seq"] + 1, zlib.crc32(line, self._crc32)
                if take is not None:
                    take(event)
            self.note = _cut_unfinished_line(path)
        except BaseException:
            os.close(self._fd)
            raise
        self._size = os.fstat(self._fd).st_size
        self._boot_id = _read_boot_id()

    @property
    def position(self) -> Position:
        """The place behind its last event; the checksum is that of what was read and written, whatever became of it."""
        return Position(self._size, self._seq, self._crc32)

    def append(self, event: str, **fields: Any) -> None:
        """Write one event. It is in the kernel's hands when this returns, on disk after :meth:`sync`.

        Raises:
            DiskFullError: there is no room; what was written of the line is cut off again.
            RecordError: the file cannot take it for another reason, or somebody else has written into it.
        """
        self.append_all([(event, fields)])

    def append_all(self, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Write events that belong together, by one write: whoever is killed meanwhile has written all or none.

        Raises:
            RecordError: see :meth:`append`.
        """
        lines = b"".join(self._line(i, event, fields) for i, (event, fields) in enumerate(events, self._seq))
        self._check_is_ours()
        try:
            write_all(self._fd, lines)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise record_error(self.path, "cannot be written", error) from None
        self._size += len(lines)
        self._seq += len(events)
        self._crc32 = zlib.crc32(lines, self._crc32)

    def _line(self, seq: int, event: str, fields: Mapping[str, Any]) -> bytes:
        record = {
            "v": VERSION,
            "seq": seq,
            "t_wall": round(time.time(), 6),
            "t_mono": round(time.monotonic(), 6),
            "boot_id": self._boot_id,
            "ev": event,
            **fields,
        }
        return _seal(json.dumps(encode(record), allow_nan=False, separators=(",", ":")).encode()) + b"\n"

    def _use(self, fd: int) -> None:
        self._fd = fd
        status = os.fstat(fd)
        self._file = status.st_dev, status.st_ino

    def _check_is_ours(self) -> None:
        """Make sure that what is written goes where it will be read; a file put in our place is replaced by ours.

        Raises:
            RecordError: the file itself was changed, so that what it held is gone.
        """
        try:
            seen = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            seen = None
        if seen is not None and (seen.st_dev, seen.st_ino) == self._file:
            if seen.st_size != self._size:
                raise RecordError(
                    f"{self.path}: was changed while the sweep runs ({seen.st_size} bytes, {self._size} were written); "
                    "sweepline repair makes it anew from the run folders"
                )
            return
        try:
            self._write_anew(has_stranger=seen is not None)
        except OSError as error:
            raise record_error(self.path, "cannot be written anew", error) from None

    def _write_anew(self, *, has_stranger: bool) -> None:
        """Give the events, which our descriptor still holds, their name again."""
        content = os.pread(self._fd, self._size, 0)
        where = "removed"
        if has_stranger:
            kept = unused_path(quarantine(self.path) / f"{self.path.name}.{time.strftime('%Y%m%d_%H%M%S')}")
            self.path.rename(kept)
            where = f"replaced (that copy: {QUARANTINE}/{kept.name})"
        write_whole(self.path, content)
        old_fd = self._fd
        self._use(_open_locked(self.path))
        os.close(old_fd)
        self.note = f"{self.path.name} was {where} while the sweep runs; written anew"

    def sync(self) -> None:
        """Return when everything appended is on disk.

        Raises:
            RecordError: the disk refuses. That is final: the kernel may have dropped what it could not write, and a
                second try would succeed without it.
        """
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be made durable: {error.strerror}") from None

    def close(self) -> None:
        """Close the file, once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_locked(path: Path) -> int:
    """Return a journal opened for appending and reading, and locked."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise record_error(path, "cannot be written", error) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise SweepLockedError(
            f"{path}: another process writes it, most likely a sweep whose lock file was removed; stop that first"
        ) from None
    except OSError:  # a file system without locks: sweep.lock has said so
        pass
    return fd


def quarantine(path: Path) -> Path:
    """Return the folder beside a file that takes what is set aside of it."""
    folder = path.parent / QUARANTINE
    folder.mkdir(exist_ok=True)
    return folder


def read_events(path: Path, *, after: Position = START) -> Iterator[dict[str, Any]]:
    """Yield the journal's events from a position on; an unfinished last line is left out.

    Raises:
        RecordError: a line in the middle is damaged or missing, or a newer version wrote the file.
    """
    for event, _ in _read_lines(path, after):
        yield event


def _read_lines(path: Path, after: Position) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield events with their lines; see :func:`read_events`."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        file.seek(after.offset)
        yield from _parse(file, path, after)


def _parse(file: BinaryIO, path: Path, after: Position) -> Iterator[tuple[dict[str, Any], bytes]]:
    offset, expected = after.offset, after.seq
    for line in file:
        if not line.endswith(b"\n"):
            return
        raw = line[:-1]
        try:
            event = read_event(raw)
            seq, version = event["seq"], event["v"]
        except (ValueError, KeyError, TypeError):
            raise RecordError(f"{path}: damaged at byte {offset}: {raw[:60]!r}; {_REMEDY}") from None
        if version > VERSION:
            raise RecordError(f"{path}: written by format {version}, this is format {VERSION}; use a newer sweepline")
        if seq != expected:
            raise RecordError(f"{path}: damaged at byte {offset}: event {expected} is missing, found {seq}; {_REMEDY}")
        yield event, line
        offset, expected = offset + len(raw) + 1, expected + 1


def read_event(line: bytes) -> dict[str, Any]:
    """Return the event of one line without its end; ValueError, KeyError or TypeError where it is damaged."""
    event: dict[str, Any] = json.loads(_unseal(line))
    if _TAGGED in line:
        event = decode(event)
    operator.index(event["seq"])
    version = operator.index(event["v"])
    if b"\r" in line:
        raise ValueError("a carriage return")
    if _UNSEALED_VERSION < version <= VERSION and not _SEAL.search(line):
        raise ValueError("no checksum")
    return event


def _seal(line: bytes) -> bytes:
    """Add the checksum of all that stands before it as the last field."""
    return b'%s,"crc":"%08x"}' % (line[:-1], zlib.crc32(line[:-1]))


def _unseal(line: bytes) -> bytes:
    """Return a line without its checksum; ValueError when that does not fit."""
    seal = _SEAL.search(line)
    if seal is None:
        return line
    content = line[: seal.start()]
    if zlib.crc32(content) != int(seal.group(1), 16):
        raise ValueError("the checksum does not fit")
    return content + b"}"


def _cut_unfinished_line(path: Path) -> str | None:
    """Move what follows the last newline into ``quarantine/``; return a sentence when there was something."""
    try:
        with path.open("rb") as file:
            keep = _end_of_last_line(file)
            file.seek(keep)
            tail = file.read()
    except FileNotFoundError:
        return None
    if not tail:
        return None
    kept = unused_path(quarantine(path) / f"{path.name}.{keep}.{time.strftime('%Y%m%d_%H%M%S')}")
    kept.write_bytes(tail)
    with path.open("r+b") as file:
        file.truncate(keep)
        os.fsync(file.fileno())
    return f"{path.name}: cut {len(tail)} bytes of an unfinished record, kept in {QUARANTINE}/{kept.name}"


def _end_of_last_line(file: BinaryIO) -> int:
    """Return the offset behind the last newline, 0 when there is none."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - _CHUNK_BYTES)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def unused_path(path: Path) -> Path:
    """Return ``path``, or the first of ``path.2``, ``path.3`` ... that does not exist."""
    candidates = (path.with_name(f"{path.name}.{i}") for i in itertools.count(2))
    if not os.path.lexists(path):
        return path
    return next(candidate for candidate in candidates if not os.path.lexists(candidate))


def _read_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "unknown"


def encode(value: Any) -> Any:
    """Return a value that JSON holds exactly: non-finite floats become ``{"float": "nan"}``."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT_TAG: repr(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def decode(value: Any) -> Any:
    """Undo :func:`encode`."""
    if isinstance(value, dict):
        if value.keys() == {_FLOAT_TAG} and value[_FLOAT_TAG] in _NON_FINITE:
            return float(value[_FLOAT_TAG])
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value
