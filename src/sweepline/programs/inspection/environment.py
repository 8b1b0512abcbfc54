"""Environment variables that a script reads, apart from those of the system and of libraries."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from sweepline.programs.inspection.constants import plain_flag
from sweepline.programs.inspection.facts import UNKNOWN, Flag, Interface
from sweepline.programs.inspection.literals import called, last_name, literal
from sweepline.programs.inspection.reading import Source, nodes_within, where

PARSER = "environment variables"
_OF_THE_SYSTEM = re.compile(
    r"(?:(?:LOCAL_|NODE_|GLOBAL_)?RANK|(?:LOCAL_)?WORLD_SIZE|HOME|PATH|PWD|USER|USERPROFILE|TMPDIR|DEBUG|CI|PORT|HOST|COLUMNS)$|"
    r"(?:MASTER|CUDA|NCCL|OMP|MKL|SLURM|OMPI|TORCH|PYTORCH|TF|XLA|JAX|HF|WANDB|SWEEPLINE|AWS|XDG|PYTHON|KMP|HIP|ROCR|"
    r"COLAB|TPU|SM|DATABRICKS|DDP|COMET|MLFLOW|NEPTUNE|CLEARML)_"
)


def read_environment(source: Source) -> Interface | None:
    """Return the variables with a default that the script itself reads, as its settings; None without any."""
    flags = [flag for flag in find_variables(source) if not flag.is_required and _is_of_script(source, flag)]
    return Interface(parser=PARSER, flags=flags, args_macro="") if flags else None


def _is_of_script(source: Source, flag: Flag) -> bool:
    return flag.where.startswith(f"{source.script.path.name}:")


def find_variables(source: Source) -> list[Flag]:
    """Return the variables that a script reads, each once; those without a default are required."""
    found: dict[str, Flag] = {}
    asked = set(_asked_for(source))
    reads = sorted(_reads(source), key=lambda read: (not read[3].startswith(source.script.path.name), _line(read[3])))
    for name, default, is_read_bare, place in reads:
        is_required = is_read_bare and name not in asked
        if _OF_THE_SYSTEM.match(name) is None and name not in found:
            flag = _flag(name, default, place)
            found[name] = Flag(name=name, where=place, is_required=True) if is_required else flag
    return list(found.values())


def _line(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return file, int(line)


def _asked_for(source: Source) -> Iterator[str]:
    """Yield the variables that may be missing: ``"X" in os.environ``."""
    for _, part in source.parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Compare) and any(last_name(one) == "environ" for one in node.comparators):
                name = literal(node.left, source.names)
                yield from [name] if isinstance(name, str) else []


def _reads(source: Source) -> Iterator[tuple[str, Any, bool, str]]:
    """Yield the name of what is read, its default, whether it has to be there, and where that is."""
    for file, part in source.parts:
        for _, node in nodes_within(part):
            if isinstance(node, ast.Call):
                is_get = called(node) == "getenv" or (
                    called(node) == "get" and last_name(getattr(node.func, "value", None)) == "environ"
                )
                values = [literal(arg, source.names) for arg in node.args]
                if is_get and values and isinstance(values[0], str):
                    default = values[1] if len(values) > 1 else None
                    yield values[0], None if default is UNKNOWN else default, False, where(file, node)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                name = literal(node.slice, source.names)
                if last_name(node.value) == "environ" and isinstance(name, str):
                    yield name, None, True, where(file, node)


def _flag(name: str, default: Any, place: str) -> Flag:
    """Return a variable, with its default as the number that its text looks like."""
    if isinstance(default, str):
        for kind in (int, float):
            try:
                return plain_flag(name, kind(default), place)
            except ValueError:
                continue
    return plain_flag(name, default, place)
