"""How each run of a script gets a folder of its own for what it writes: by a flag of its, or by starting there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sweepline.programs.inspection.facts import FilePlace, Flag, Interface, ScriptFacts, Told

RUN_DIR = "${run_dir}"
_OUTPUT_NAMES = (
    *("output_dir", "out_dir", "save_dir", "log_dir", "logdir", "outdir", "output", "checkpoint_dir", "workdir"),
    *("default_root_dir", "model_dir", "tensorboard_dir", "tb_dir", "result_dir", "results_dir", "exp_dir"),
)
_FOLDER_CALLS = ("makedirs", "mkdir", "SummaryWriter", "create_file_writer", "FileWriter", "TensorBoard", "CSVLogger")
_EVENT_CALLS = ("SummaryWriter", "create_file_writer", "FileWriter", "TensorBoardLogger", "TensorBoard")
_DATA = re.compile(
    r"data(?:set)?(?:_?(?:dir|path|root|folder|file))?|(?:train|val|test|input)_?(?:dir|path|file)|root|corpus"
)
_IN_FILES = ("csv", "json", "tensorboard", "lightning_log")


@dataclass(frozen=True, slots=True)
class OwnFolder:
    """What a draft says so that runs do not write over each other's files.

    ``given`` are flags with their values. With ``starts_there`` it is ``cwd: run``; ``missed`` are the relative files
    that would no longer be found then, for which it is not proposed.
    """

    given: Sequence[tuple[Flag, str]] = ()
    by_command: bool = False
    starts_there: bool = False
    written: Sequence[FilePlace] = ()
    missed: Sequence[FilePlace] = ()
    made_absolute: Sequence[tuple[Flag, str]] = ()
    events: Sequence[FilePlace] = field(default=())

    @property
    def is_there(self) -> bool:
        """Whether runs have a folder of their own."""
        return self.by_command or self.starts_there or bool(self.given)

    def has(self, place: FilePlace | None) -> bool:
        """Whether a file is written there; one of which nothing is known may be anywhere, and is taken to be."""
        if place is not None and place.is_relative:
            return self.starts_there
        if place is not None and place.setting:
            return self.starts_there or any(flag.key == place.setting for flag, _ in self.given)
        return self.is_there

    def can_read(self, told: Told) -> bool:
        """Whether the sweep sees a metric."""
        if told.source not in _IN_FILES:
            return told.source != "log"
        places = [told.file] if told.file is not None else list(self.events) if told.source == "tensorboard" else []
        return any(map(self.has, places)) if places else self.is_there

    def path_of(self, place: FilePlace) -> str:
        """Return a file's path relative to a run's folder."""
        value = next((value for flag, value in self.given if flag.key == place.setting), RUN_DIR)
        inside = value.removeprefix(RUN_DIR).lstrip("/")
        text = str(PurePosixPath(inside, place.path)) if inside else place.path
        is_known = place.is_relative or place.setting or text.startswith("**/")
        return text if is_known or not text else f"**/{text}"


def plan_own_folder(facts: ScriptFacts, interface: Interface, folder: Path | None = None) -> OwnFolder:
    """Return how runs get folders of their own.

    Args:
        facts: what the script writes and reads.
        interface: what it takes.
        folder: where runs start otherwise, which is where relative paths lead to.
    """
    given = [] if interface.after or interface.args_macro != "${args}" else _output_flags(facts, interface.flags)
    events = [place for place in facts.writes if place.call in _EVENT_CALLS]
    keys = {flag.key for flag, _ in given}
    relative = [place for place in facts.writes if place.is_relative or _is_relative_default(place, interface, keys)]
    found = OwnFolder(given, any(RUN_DIR in word for word in interface.after), written=relative, events=events)
    if not relative or facts.module:
        return found
    missed = _relative_reads(facts, interface, keys)
    if not missed:
        return OwnFolder(given, found.by_command, True, relative, events=events)
    absolute = _made_absolute(missed, interface, folder)
    if absolute and not found.is_there and not any(map(found.can_read, facts.told)):
        return OwnFolder(given, found.by_command, True, relative, made_absolute=absolute, events=events)
    return OwnFolder(given, found.by_command, False, relative, missed, events=events)


def _output_flags(facts: ScriptFacts, flags: Sequence[Flag]) -> list[tuple[Flag, str]]:
    """Return the flags of a script's output with what each run hands them."""
    found: dict[str, tuple[Flag, str]] = {}
    texts = [flag for flag in flags if flag.kind in ("str", "unknown") and not flag.is_positional and not flag.choices]
    for place in facts.writes:
        flag = next((one for one in texts if one.key == place.setting), None)
        if flag is not None and not _DATA.fullmatch(flag.key) and (value := _value(flag, place)):
            found.setdefault(flag.name, (flag, value))
    named = [flag for flag in texts if flag.key in _OUTPUT_NAMES and flag.kind == "str"]
    named += [flag for flag in texts if flag.key == "project" and "save" in flag.help]
    return list(found.values()) or [(flag, RUN_DIR) for flag in named[:1]]


def _value(flag: Flag, place: FilePlace) -> str:
    """Return what a flag of the output is set to: the run's folder, or a file in it."""
    default = flag.default if isinstance(flag.default, str) else ""
    if place.path or place.call in _FOLDER_CALLS or (default and not PurePosixPath(default).suffix):
        return RUN_DIR
    return f"{RUN_DIR}/{PurePosixPath(default).name}" if default else ""


def _is_relative_default(place: FilePlace, interface: Interface, given: set[str]) -> bool:
    """Whether a file lies where a flag says by its default, which nothing changes."""
    flag = next((one for one in interface.flags if one.key == place.setting), None)
    return flag is not None and flag.key not in given and _is_relative(flag.default)


def _is_relative(text: object) -> bool:
    return isinstance(text, str) and text != "" and not text.startswith(("/", "~", "$")) and "://" not in text


def _relative_reads(facts: ScriptFacts, interface: Interface, given: set[str]) -> list[FilePlace]:
    """Return the files that are looked for where the program was started, its own output aside."""
    own = {place.path.rstrip("/") for place in facts.writes if place.is_relative}
    found = [p for p in facts.reads if p.is_relative and p.path.rstrip("/") not in own and not _lies_below(p.path, own)]
    written = {place.setting for place in facts.writes if place.setting and place.call != "makedirs"} | given
    read = {place.setting for place in facts.reads if place.setting} - written
    for flag in interface.flags:
        looks_so = _DATA.fullmatch(flag.key) is not None and isinstance(flag.default, str) and "/" in flag.default
        if (flag.key in read or looks_so) and _is_relative(flag.default):
            found.append(FilePlace(path=flag.default, where=flag.where, setting=flag.key))
    return found


def _lies_below(path: str, folders: set[str]) -> bool:
    return any(str(parent) in folders for parent in PurePosixPath(path).parents)


def _made_absolute(missed: Sequence[FilePlace], interface: Interface, folder: Path | None) -> list[tuple[Flag, str]]:
    """Return the flags of what is read with absolute paths; none where something is read without a flag."""
    flags = {flag.key: flag for flag in interface.flags}
    if folder is None or interface.args_macro != "${args}" or not all(place.setting in flags for place in missed):
        return []
    return [(flags[place.setting], str((folder / place.path).absolute())) for place in missed]
