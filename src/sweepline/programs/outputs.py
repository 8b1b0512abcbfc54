"""Whether the runs of a sweep would write to one output folder, as far as their command tells. Only says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_FOLDER_NAME = re.compile(
    r"(?:.*[.])?(?:hydra\.run\.dir|default_root_dir|out|output|(?:out|output|save)[_-]?(?:dir|folder|path)|"
    r"(?:logs?|results?|ckpt|checkpoints?|work|exp|experiment|model|run|tb|tensorboard)[_-]?(?:dir|folder))",
    re.IGNORECASE,
)
_FILE = re.compile(r".*[^/][.][A-Za-z][A-Za-z0-9]{0,7}", re.DOTALL)
_OPTION = re.compile(r"(?:-{1,2}|\+{0,2})([A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)
_MULTIRUN = re.compile(rb"^\s+mode:\s*['\"]?MULTIRUN\b", re.MULTILINE)
_HYDRA_FOLDER = ("hydra.run.dir", "hydra.sweep.dir", "hydra/run")


def find_shared_output(items: Sequence[str], constants: Mapping[str, Any]) -> tuple[str | int, str] | None:
    """Return the parameter's name or the item's position, and a sentence, where all runs are given one folder."""
    for name, value in constants.items():
        if _is_shared(name, value):
            return name, _sentence(f"{name}: ", value)
    for i, name, written, value in options_in(items):
        if _is_shared(name, value):
            return i, _sentence(written, value)
    return None


def gives_hydra_folder(items: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a Hydra program is told where to write, in its command or by a parameter."""
    return any(word.lstrip("+~").startswith(_HYDRA_FOLDER) for word in (*items, *names))


def find_multirun(configs: Iterable[tuple[str, bytes]], items: Sequence[str]) -> str | None:
    """Return a sentence where one of Hydra's configs, given by name and content, makes every run a sweep of its own."""
    if any(word.lstrip("+").startswith("hydra.mode=") for word in items):
        return None
    name = next((name for name, content in configs if _MULTIRUN.search(content)), None)
    if name is None:
        return None
    return f"{name}: hydra.mode MULTIRUN lets Hydra's sweeper loose in every run; add hydra.mode=RUN to command"


HYDRA_SENTENCE = (
    "Hydra writes to outputs/DATE/TIME, which runs that start in the same second share, unless its own config says "
    "otherwise; add hydra.run.dir=${run_dir} to command to give each run a folder of its own"
)


def _sentence(written: str, value: str) -> str:
    return (
        f"all runs write to one folder ({written}{value}) and overwrite each other's files; {written}${{run_dir}} "
        "gives each its own"
    )


def _is_shared(name: str, value: Any) -> bool:
    is_told = isinstance(value, str) and value not in ("", "/dev/null") and "${" not in value
    if not is_told or _FOLDER_NAME.fullmatch(name) is None:
        return False
    return name.lower().endswith(("dir", "folder")) or _FILE.fullmatch(value) is None


def options_in(items: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """Yield the position, the name, what is written before the value, and the value of each option."""
    for i, item in enumerate(items):
        found = _OPTION.fullmatch(item)
        if found is None:
            continue
        following = items[i + 1] if i + 1 < len(items) and item.startswith("-") else ""
        written = f"{item} " if found[2] is None else item[: found.start(2)]
        value = following if found[2] is None else found[2]
        if value and not value.startswith("-"):
            yield i, found[1], written, value
