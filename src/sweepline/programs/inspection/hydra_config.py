"""Settings of a Hydra program: the keys of the config that ``@hydra.main`` names, and the choices of its groups.

It is composed from its defaults list, roughly as Hydra does it. Reads YAML; knows nothing of OmegaConf.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError
from sweepline.programs.inspection.facts import Flag, Interface
from sweepline.programs.inspection.literals import called, item_kind, keywords, kind_of_value, last_name, literal
from sweepline.programs.inspection.reading import Source
from sweepline.programs.inspection.signatures import flags_of_class, label_of, resolve

_PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)", re.MULTILINE)
_MAX_DEPTH, _MAX_CHOICES = 6, 12
MISSING = "???"
_AFTER = ("hydra.run.dir=${run_dir}",)
_MACRO = "${args_no_hyphens}"


def read_hydra(source: Source) -> Interface | None:
    """Return what a program with ``@hydra.main`` takes; None without that."""
    call = _decorator(source)
    if call is None:
        return None
    given = keywords(call)
    names = ("config_path", "config_name")
    told = {name: literal(given[name], source.names) for name in names if name in given}
    told |= {name: literal(arg, source.names) for name, arg in zip(names, call.args, strict=False)}
    path_told = told.get("config_path")
    if "config_name" not in told and isinstance(path_told, str) and path_told.endswith((".yaml", ".yml")):
        folder_told, _, file_told = path_told.rpartition("/")  # as Hydra 0.11 had it
        told |= {"config_path": folder_told, "config_name": file_told.rpartition(".")[0]}
    name = told.get("config_name")
    if not isinstance(name, str):
        note = "no config_name is given: add --config-name and the name of a config to command"
        return Interface(parser="Hydra", args_macro=_MACRO, after=_AFTER, notes=[note])
    folder = source.path.parent / str(told.get("config_path") or ".")
    notes: list[str] = []
    flags = list(_structured(source, name))
    targets: list[str] = []
    path = folder / f"{name.removesuffix('.yaml')}.yaml"
    if path.is_file():
        composer = _Composer(folder, notes)
        composer.add(path, "", 0)
        given_by_code = _assigned_names(source)
        found = [flag for flag in composer.flags() if not (flag.is_required and flag.key in given_by_code)]
        flags, targets = [*found, *flags], composer.targets()
    elif not flags:
        notes.append(f"its config {name} is not in {folder.name}/, so that its keys are not known here")
    return Interface(parser="Hydra", flags=flags, args_macro=_MACRO, after=_AFTER, notes=notes, targets=targets)


def _assigned_names(source: Source) -> set[str]:
    """Return the keys that the program sets itself: ``cfg.agent.obs_shape = ...``."""
    nodes = (node for _, part in source.parts for node in ast.walk(part) if isinstance(node, ast.Assign))
    return {node.targets[0].attr for node in nodes if isinstance(node.targets[0], ast.Attribute)}


def _decorator(source: Source) -> ast.Call | None:
    for _, part in source.parts:
        for node in ast.walk(part):
            for decorator in getattr(node, "decorator_list", ()):
                is_main = isinstance(decorator, ast.Call) and called(decorator) in (
                    "main",
                    "hydra_main",
                    "hydra_runner",
                )
                if is_main and (
                    "config_name" in keywords(decorator) or last_name(getattr(decorator.func, "value", None)) == "hydra"
                ):
                    return decorator  # type: ignore[no-any-return]
    return None


def _structured(source: Source, name: str) -> Iterator[Flag]:
    """Yield the fields of the dataclass that a ConfigStore keeps under the config's name."""
    for _, call in source.calls():
        given = keywords(call)
        if called(call) == "store" and literal(given.get("name"), source.names) == name and "group" not in given:
            definition = resolve(source, given.get("node"))
            if isinstance(definition, ast.ClassDef):
                yield from flags_of_class(source, definition, label=label_of(source, definition), boolean="text")


class _Composer:
    """Puts a config together; what it cannot follow is said in ``notes``."""

    def __init__(self, folder: Path, notes: list[str]) -> None:
        self.folder, self.notes = folder, notes
        self.values: dict[str, tuple[Any, str]] = {}
        self.groups: dict[str, tuple[Any, list[str], str]] = {}

    def add(self, path: Path, package: str, depth: int) -> None:
        """Add a file's values below ``package``, and those of what its defaults list names."""
        if depth > _MAX_DEPTH:
            return
        try:
            document = read_yaml(path)
        except ConfigError as error:
            self.notes.append(f"{error.faults[0]}; its keys are not known here")
            return
        value = document.value if isinstance(document.value, Mapping) else {}
        told = _PACKAGE.search(path.read_text(encoding="utf-8", errors="replace"))
        package = _package(told[1], package) if told else package
        defaults = value.get("defaults") or []
        entries = defaults if isinstance(defaults, list) else []
        itself = entries.index("_self_") if "_self_" in entries else len(entries)
        for entry in entries[:itself]:
            self._add_default(entry, path, package, depth)
        self._add_values(value, package, path, document.lines)
        for entry in entries[itself + 1 :]:
            self._add_default(entry, path, package, depth)

    def _add_default(self, entry: Any, path: Path, package: str, depth: int) -> None:
        key, choice = next(iter(entry.items())) if isinstance(entry, Mapping) and entry else ("", entry)
        key = str(key).removeprefix("override ").removeprefix("optional ").strip()
        if key.lstrip("/").startswith("hydra/") or choice == "_self_":
            return
        group, _, renamed = key.partition("@")
        folder = self.folder if group.startswith("/") or not key else path.parent
        group = group.lstrip("/")
        if not group:
            name = str(choice).partition("@")[0]
            self.add(_yaml(self.folder if name.startswith("/") else path.parent, name.lstrip("/")), package, depth + 1)
            return
        choices = sorted(file.stem for file in (folder / group).glob("*.yaml"))
        if not renamed:
            self.groups[group] = (choice, choices[:_MAX_CHOICES], path.name)
        below = ".".join(filter(None, [package, (renamed or group).replace("/", ".")]))
        below = package if renamed in ("_here_", "_global_") else below
        if isinstance(choice, str) and choice != MISSING and _yaml(folder / group, choice).is_file():
            self.add(_yaml(folder / group, choice), below, depth + 1)

    def _add_values(self, value: Mapping[Any, Any], package: str, path: Path, lines: Mapping[Any, int]) -> None:
        for key, one in value.items():
            if key in ("defaults", "hydra"):
                continue
            dotted = f"{package}.{key}" if package else str(key)
            if isinstance(one, Mapping) and one:
                self._add_values(one, dotted, path, lines)
            else:
                self.values[dotted] = (
                    one,
                    f"{path.relative_to(self.folder)}" if path.is_relative_to(self.folder) else path.name,
                )

    def targets(self) -> list[str]:
        """Return what the config has Hydra make, by dotted names."""
        found = [value for name, (value, _) in self.values.items() if name.rpartition(".")[2] == "_target_"]
        return [value for value in found if isinstance(value, str) and "." in value]

    def flags(self) -> Iterator[Flag]:
        """Yield what may be overridden: the groups with their choices, and every value that follows from no other."""
        for group, (choice, choices, place) in self.groups.items():
            kind = "str" if isinstance(choice, str) or choice is None else kind_of_value(choice)
            is_missing = choice == MISSING
            yield Flag(
                name=group,
                kind=kind,
                default=None if is_missing else choice,
                choices=choices,
                help="a group of the config",
                where=place,
                is_required=is_missing,
            )
        for name, (value, place) in self.values.items():
            is_derived = isinstance(value, str) and "${" in value
            is_own = name.rpartition(".")[2].startswith("_")
            if not is_derived and not is_own:
                yield _flag(name, value, place)


def _flag(name: str, value: Any, place: str) -> Flag:
    kind, is_missing = kind_of_value(value), value == MISSING
    return Flag(
        name=name,
        kind="unknown" if is_missing else kind,
        item_kind=item_kind(value),
        default=None if is_missing else value,
        boolean="text" if kind == "bool" else "",
        where=place,
        is_required=is_missing,
    )


def _package(told: str, package: str) -> str:
    return "" if told == "_global_" else package if told in ("_group_", "_here_") else told.removeprefix("_global_.")


def _yaml(folder: Path, name: str) -> Path:
    return folder / f"{name.removesuffix('.yaml')}.yaml"
