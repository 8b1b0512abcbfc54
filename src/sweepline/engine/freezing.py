"""Which code the runs of a start execute: as it is when each starts, or as it was when the start began."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sweepline.contract.text import display_path, name_some
from sweepline.engine.codestore import MAX_TRACKED, SERVED, CodeStore, tracked_files
from sweepline.errors import ConfigError
from sweepline.programs.sourcecode import SourceCode, changed_files
from sweepline.recording.book import RecordBook

FROZEN, LIVE = "frozen", "live"
NEW, KEPT = "new", "kept"
_CONFIGS = ("*.yaml", "*.yml", "*.toml", "*.json", "*.ini", "*.cfg")
_MAX_WATCHED = 500
# What no Python process reads: their interpreters open them as they are.
_NEVER_SERVED = (".sh", ".bash", ".jl", ".R", ".pl", ".rb", ".js", ".lua")


class Code(ABC):
    """The code of a start.

    ``state`` is a short hash of what runs that start now execute, empty where it is none of the user's files; ``files``
    has one for each file, by its path. Runs are served from ``manifest``; None where they read the files themselves.
    """

    def __init__(self, source: SourceCode, *, state: str, files: Mapping[str, str], manifest: Path | None) -> None:
        self._source = source
        self.state, self.files, self.manifest = state, dict(files), manifest

    @abstractmethod
    def look(self) -> str | None:
        """Look at the files again; return a sentence where they were edited since the last look."""

    def look_at_end(self) -> str | None:
        """Return a sentence, once, where a run that has finished did not execute what it should have."""
        return None


class ConfigWatch:
    """Configs that git tracks beside the program and that are not kept: a checkout changes them under later runs."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._seen = {path: _stamp(path) for path in files[:_MAX_WATCHED]}
        self._looked_at = time.monotonic()

    def look(self) -> str | None:
        """Return a sentence where some have changed since the last look, which is at least a second ago."""
        if time.monotonic() - self._looked_at < 1.0:
            return None
        self._looked_at = time.monotonic()
        changed = [path for path, stamp in self._seen.items() if _stamp(path) != stamp]
        self._seen |= {path: _stamp(path) for path in changed}
        if not changed:
            return None
        names = name_some([display_path(path) for path in changed])
        return (
            f"{names}: changed while the sweep runs; what a program opens by itself is not kept: runs from here on see "
            "what it is now"
        )


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        seen = path.stat()
    except OSError:
        return 0, 0, 0
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


class LiveCode(Code):
    """Code that is executed as it is when a run starts."""

    def __init__(self, source: SourceCode) -> None:
        state = source.digest()
        super().__init__(source, state=state, files=source.files, manifest=None)

    def look(self) -> str | None:
        """Look at the files again; see :class:`Code`."""
        state, before = self._source.digest(), self.files
        if state == self.state:
            return None
        self.state, self.files = state, dict(self._source.files)
        names = name_some(changed_files(before, self.files))
        return f"{names}: edited while the sweep runs; runs from here on execute what it is now"


class FrozenCode(Code):
    """Code that is executed as it was kept, but for what no Python process reads, such as shell scripts."""

    def __init__(
        self,
        source: SourceCode,
        *,
        state: str,
        files: Mapping[str, str],
        manifest: Path,
        configs: ConfigWatch | None = None,
    ) -> None:
        super().__init__(source, state=state, files=files, manifest=manifest)
        self._configs = configs
        self._seen = source.digest()
        self._seen_files = dict(source.files)
        self._is_served: bool | None = None  # not known before a run has ended

    def look(self) -> str | None:
        """Look at the files again; see :class:`Code`."""
        seen = self._source.digest()
        if seen == self._seen:
            return self._configs.look() if self._configs is not None else None
        changed = changed_files(self._seen_files, self._source.files)
        self._seen, self._seen_files = seen, dict(self._source.files)
        live = [name for name in changed if self._is_served is False or name.endswith(_NEVER_SERVED)]
        if live:
            self.state, self.files = f"{self.state.partition('+')[0]}+{seen[:6]}", {**self.files, **self._seen_files}
            return f"{name_some(live)}: edited while the sweep runs; runs from here on execute what it is now"
        if all(self.files.get(name) == self._seen_files.get(name) for name in changed):
            return None  # as it was again
        return (
            f"{name_some(changed)}: edited while the sweep runs; this start goes on with what it was (code: {FROZEN})"
        )

    def look_at_end(self) -> str | None:
        """Look whether runs are served; see :class:`Code`."""
        if self._is_served is not None or self.manifest is None:
            return None
        self._is_served = self.manifest.with_name(f"{self.manifest.name}{SERVED}").exists()
        if self._is_served:
            return None
        return (
            "code: live: the Python of the runs does not take part (python -I or -E, a container, another machine, a "
            "version before 3.8): they execute the files as they are"
        )


def choose_code(
    source: SourceCode, book: RecordBook, *, mode: str, which: str, config_files: Iterable[Path]
) -> tuple[Code, list[str]]:
    """Return the code of a start, kept where it shall be; and sentences worth saying.

    Args:
        source: the program as it is now.
        book: what earlier starts executed.
        mode: ``frozen`` or ``live``.
        which: ``kept`` goes on with the code of the latest run, ``new`` takes the program as it is.
        config_files: files beside the program's own that our trainer reads through the same door.

    Raises:
        ConfigError: that code was not kept.
        RecordError: the folder cannot be written.
    """
    store = CodeStore(book.folder.path)
    if which == KEPT:
        code = _kept_code(source, book, store)
        changed = changed_files({name: code.files.get(name, "") for name in source.files}, source.files)
        differ = f"; {name_some(changed)} as of now would be other code" if changed else ""
        return code, [f"--code kept: runs execute the code of the latest run ({code.state}){differ}"]
    if mode == LIVE:
        return LiveCode(source), []
    why = _why_live(source)
    if why:
        return LiveCode(source), [f"code: live: {why}"]
    found = tracked_files(source.folder, "*.py", *_CONFIGS)
    tracked = [path for path in found if path.suffix == ".py"][:MAX_TRACKED]
    kept = store.keep(source.digest(), dict.fromkeys([*source.paths, *tracked, *config_files]), base=source.folder)
    notes = []
    if kept.left_out:
        shown = name_some([display_path(path) for path in kept.left_out])
        notes.append(f"{shown}: too large to be kept, or not readable: runs read it as it is then")
    if len(tracked) == MAX_TRACKED:
        notes.append(
            f"git tracks more than {MAX_TRACKED:,} Python files here: of those that are not imported by name "
            "the first are kept, others are read as they are then"
        )
    files = kept.files | dict(source.files)
    known = {*source.paths, *config_files}
    configs = ConfigWatch([path for path in found if path.suffix != ".py" and path not in known])
    return FrozenCode(source, state=kept.state, files=files, manifest=kept.manifest, configs=configs), notes


def _kept_code(source: SourceCode, book: RecordBook, store: CodeStore) -> FrozenCode:
    state = next((record.code for record in reversed(book.records.values()) if record.code), "")
    manifest = store.manifest(state)
    if manifest is None:
        raise ConfigError(
            "--code kept: the code of the latest run was not kept, or is gone; --code new takes the program as it is"
        )
    return FrozenCode(source, state=state, files=book.codes.get(state, {}), manifest=manifest)


def _why_live(source: SourceCode) -> str | None:
    if not any(path.suffix == ".py" for path in source.paths):
        return "the program is no Python file, and runs as it is when each starts"
    return None
