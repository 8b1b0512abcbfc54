"""The batch sizes that were found for a sweep, as its folder keeps them: whoever searches there waits for the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweepline.config.settings import MEASURED_SIZES
from sweepline.contract.files import write_whole
from sweepline.errors import ConfigError

FOLDER, RECORDS = "batch_size", "batch_sizes.json"

Tell = Callable[[str], None]


@contextmanager
def locked(folder: Path, tell: Tell) -> Iterator[None]:
    """Hold the folder of a search.

    Raises:
        ConfigError: it cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            tell("Waiting for another search in this folder\n")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: {error.strerror or error}; sizes are recorded there") from None


def read_records(folder: Path) -> dict[str, Any]:
    """Return what was found, by the key of its set-up."""
    try:
        records = json.loads((folder / RECORDS).read_text(encoding="utf-8"))["records"]
        return {key: value for key, value in records.items() if isinstance(value, dict) and value.get("batch_size")}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # none yet, or none that can be read
        return {}


def write_record(folder: Path, key: str, record: Mapping[str, Any]) -> None:
    """Keep what was found for a set-up."""
    records = {**read_records(folder), key: record}
    write_whole(folder / RECORDS, (json.dumps({"records": records}, indent=2) + "\n").encode())


def take_in_sizes(sweep_dir: Path, other_dir: Path) -> None:
    """Take in what was measured in another folder of the same sweep; what is known here stays.

    Raises:
        OSError: it cannot be written.
    """
    ours, theirs = read_records(sweep_dir / FOLDER), read_records(other_dir / FOLDER)
    if theirs.keys() - ours.keys():
        (sweep_dir / FOLDER).mkdir(exist_ok=True)
        text = json.dumps({"records": {**theirs, **ours}}, indent=2)
        write_whole(sweep_dir / FOLDER / RECORDS, f"{text}\n".encode())
    known, found = (_read_measured(path / MEASURED_SIZES) for path in (sweep_dir, other_dir))
    joined = {**found, **known, "sizes": {**found.get("sizes", {}), **known.get("sizes", {})}}
    is_alike = not known or {**known, "sizes": {}} == {**found, "sizes": {}}
    if found and is_alike and joined != known:
        (sweep_dir / FOLDER).mkdir(exist_ok=True)
        write_whole(sweep_dir / MEASURED_SIZES, f"{json.dumps(joined, indent=2)}\n".encode())


def _read_measured(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "sizes": dict(found["sizes"])}
    except (OSError, ValueError, KeyError, TypeError):  # none was measured
        return {}
