"""The code that a start of a sweep was made with, kept by content in its folder: what runs are served from.

``code/files/<sha256>`` holds each file once; ``code/<state>`` is the manifest of a state of the program: its files,
where they were, and how each looked, by which a process of a run sees that it is still as it was.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweepline.contract.files import write_whole
from sweepline.errors import RecordError, record_error

FOLDER, FILES = "code", "files"
SERVED = ".served"
"""What a process appends to the name of the manifest that it is served from, for a mark beside it."""
MAX_FILE_BYTES, MAX_BYTES, MAX_TRACKED = 1 << 22, 1 << 26, 2_000
_GIT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class KeptState:
    """What was kept of a state of the program: its name, its manifest, and a short hash of each file by its path.

    ``left_out`` are files that are too large, or cannot be read.
    """

    state: str
    manifest: Path
    files: dict[str, str]
    left_out: tuple[Path, ...] = ()


class CodeStore:
    """The folder ``code`` of a sweep."""

    def __init__(self, sweep_dir: Path) -> None:
        self._folder = sweep_dir / FOLDER

    def manifest(self, state: str) -> Path | None:
        """Return the manifest of a state that was kept whole; None where it was not, or is gone.

        What stands behind a ``+`` are files that are never served.
        """
        state = state.partition("+")[0]
        path = self._folder / state
        try:
            entries = list(_read_manifest(path))
        except (OSError, ValueError):
            return None
        is_whole = all(_hash_of(self._folder / FILES / key) == key for key, _ in entries)
        return path if state and entries and is_whole else None

    def keep(self, digest: str, files: Iterable[Path], *, base: Path) -> KeptState:
        """Keep files as they are now, as a state of the program.

        The state is called by the digest of the program's own files. Where others have changed beside them, such as
        modules that are imported by computed names, it is that and a hash of all: a manifest is never overwritten by
        another content, for runs go by it.

        Raises:
            RecordError: they cannot be written.
        """
        entries, hashes, left_out, n_bytes = [], {}, [], 0
        try:
            (self._folder / FILES).mkdir(parents=True, exist_ok=True)
            for path in files:
                found = _read(path)
                if found is None or n_bytes + len(found[1]) > MAX_BYTES:
                    left_out.append(path)
                    continue
                stamp, content = found
                n_bytes += len(content)
                key = hashlib.sha256(content).hexdigest()
                self._put(self._folder / FILES / key, content)
                entries.append((key.encode(), ",".join(map(str, stamp)).encode(), os.fsencode(path)))
                hashes[os.path.relpath(path, base)] = key[:10]
            state = self._name_of(digest, [(key, path) for key, _, path in entries])
            (self._folder / f"{state}{SERVED}").unlink(missing_ok=True)  # of an earlier start
            text = b"".join(b"\t".join(entry) + b"\0\n" for entry in entries)
            write_whole(self._folder / state, text)  # by rename: runs that outlived a start may be reading it
        except OSError as error:
            raise record_error(self._folder, "cannot be written", error) from None
        return KeptState(state, self._folder / state, hashes, tuple(left_out))

    def _name_of(self, digest: str, contents: list[tuple[bytes, bytes]]) -> str:
        """Return the name of a state: free, or that of the same contents."""
        whole = hashlib.sha256(b"\n".join(b"\t".join(pair) for pair in sorted(contents))).hexdigest()
        for name in (digest, *(f"{digest}.{whole[:n]}" for n in (6, 16, 64))):
            try:
                known = [(key.encode(), os.fsencode(path)) for key, path in _read_manifest(self._folder / name)]
            except (OSError, ValueError):  # none, or one that a power cut has torn
                return name
            if sorted(known) == sorted(contents):
                return name
        return f"{digest}.{whole}"

    @staticmethod
    def _put(path: Path, content: bytes) -> None:
        """Write a file that nobody reads yet; one that a power cut has torn holds something else."""
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)

    def take_in(self, other: CodeStore, state: str, place: Callable[[Path], Path]) -> str:
        """Keep a state that another store of the same sweep has, its files at their ``place`` here.

        Returns what it is called here; one that was not kept there has its name.

        Raises:
            RecordError: it cannot be written.
        """
        base, plus, live = state.partition("+")
        manifest = other.manifest(base)
        if manifest is None or manifest.name != base:
            return state
        try:
            entries = [(key, stamp, place(path)) for key, stamp, path in _read_entries(manifest)]
            known = self._find(base, entries)
            if known is not None:
                return f"{known}{plus}{live}"
            (self._folder / FILES).mkdir(parents=True, exist_ok=True)
            for key, _, _ in entries:
                self._put(self._folder / FILES / key.decode(), (manifest.parent / FILES / key.decode()).read_bytes())
            name = self._name_of(base, [(key, os.fsencode(path)) for key, _, path in entries])
            text = b"".join(b"\t".join((key, stamp, os.fsencode(path))) + b"\0\n" for key, stamp, path in entries)
            write_whole(self._folder / name, text)
        except OSError as error:
            raise record_error(self._folder, "cannot be written", error) from None
        return f"{name}{plus}{live}"

    def _find(self, base: str, entries: Sequence[_Entry]) -> str | None:
        """Return the name of the state of a program that has these files, wherever they lie."""
        for path in sorted(self._folder.glob(f"{base.partition('.')[0]}*")):
            with suppress(OSError, ValueError):  # a mark beside one, or one that a power cut has torn
                if _below_common(list(_read_entries(path))) == _below_common(entries) and self.manifest(path.name):
                    return path.name
        return None

    def read(self, state: str) -> dict[Path, bytes]:
        """Return the files of a state, with their content.

        Raises:
            RecordError: it was not kept, or is gone.
        """
        try:
            entries = list(_read_manifest(self._folder / state.partition("+")[0]))
            return {path: (self._folder / FILES / key).read_bytes() for key, path in entries}
        except (OSError, ValueError) as error:
            raise RecordError(f"{self._folder / state}: cannot be read: {error}") from None


def tracked_files(folder: Path, *patterns: str) -> list[Path]:
    """Return the files below a folder that git tracks, with names like ``patterns``; none where there is no git."""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "-z", "--", *patterns],
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    names = [os.fsdecode(name) for name in found.split(b"\0") if name]
    return [(folder / name).resolve() for name in names]


def _read(path: Path) -> tuple[tuple[int, int, int, int], bytes] | None:
    """Return how a file looks and what it holds, at one moment; None where it is too large or cannot be read."""
    try:
        while True:
            before = _stamp(path)
            if before[1] > MAX_FILE_BYTES:
                return None
            content = path.read_bytes()
            if _stamp(path) == before:
                return before, content
    except OSError:
        return None


def _stamp(path: Path) -> tuple[int, int, int, int]:
    seen = path.stat()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _read_manifest(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the key of each file's content, and its path.

    Raises:
        ValueError: it is none.
    """
    for key, _, name in _read_entries(path):
        yield key.decode(), name


_Entry = tuple[bytes, bytes, Path]


def _below_common(entries: Sequence[_Entry]) -> list[tuple[bytes, str]]:
    """Return the keys of files with their paths below the folder that all have in common.

    Raises:
        ValueError: there are none.
    """
    top = os.path.commonpath([path.parent for _, _, path in entries])
    return sorted((key, os.path.relpath(path, top)) for key, _, path in entries)


def _read_entries(path: Path) -> Iterator[_Entry]:
    """Yield the key of each file's content, how the file looked, and its path.

    Raises:
        ValueError: it is no manifest.
    """
    for entry in path.read_bytes().split(b"\0\n"):
        if entry:
            key, stamp, name = entry.split(b"\t", 2)
            yield key, stamp, Path(os.fsdecode(name))


def _hash_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
