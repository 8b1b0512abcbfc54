"""Which Python and which packages sweepline has, and which the programs of runs have. None of them is imported here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from sweepline import __version__
from sweepline.contract.wandbkey import find_wandb_key
from sweepline.contract.wandbserver import server_host
from sweepline.engine.doctor.finding import Finding, failed, note, ok
from sweepline.executors.local.gpus import Gpu
from sweepline.programs.interpreter import find_python

ANSWER_S, TORCH_ANSWER_S = 10.0, 120.0
_OLDEST_WARM = (3, 8)
_IN_RUNS = ("training", "wandb", "tensorboard")
"""Extras that the programs of runs use; the others are used by sweepline itself."""
_BUNDLES = ("all", "dev", "docs")
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*([^;]*)(?:;.*\bextra\s*==\s*[\"']([\w.-]+)[\"'])?")
_AT_LEAST = re.compile(r">=\s*([\d.]+)")

_ASK_PACKAGES = """
import json, sys
try:
    from importlib.metadata import version
except ImportError:
    version = None
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except Exception:
        found[name] = None
print(json.dumps([list(sys.version_info[:3]), found]))
"""
_ASK_TORCH = """
import json, torch
is_there = torch.cuda.is_available()
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if is_there else []
print(json.dumps([is_there, torch.version.cuda or getattr(torch.version, "hip", None), names]))
"""


def look_at_packages(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """Yield what is found of Python, sweepline, torch, W&B and the extras."""
    python, variable = find_python(environ)
    extras = read_extras()
    wanted = ["torch", "wandb", *(name for extra in _IN_RUNS for name in extras.get(extra, {}))]
    own = f"sweepline {__version__}, Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    yield ok("sweepline", own)
    told = _ask(python, _ASK_PACKAGES, *dict.fromkeys(wanted), timeout_s=ANSWER_S)
    if isinstance(told, str):
        yield failed("python", f"{python}, which runs programs: {told}", f"mend or leave the environment of {variable}")
        return
    (version, versions), is_other = told, variable is not None
    yield _describe_python(python, tuple(version), variable, environ)
    yield _look_at_torch(python, versions.get("torch"), environ, gpus, is_other=is_other)
    yield _look_at_wandb(versions.get("wandb"), environ)
    yield from _look_at_extras(extras, versions)


def _ask(python: str, program: str, *words: str, timeout_s: float) -> Any:
    """Return what a program prints as JSON; the text of what went wrong instead."""
    command = [python, "-c", program, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd="/")
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:.0f} s"
    except OSError as error:
        return f"cannot be started: {error.strerror}"
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"


def _describe_python(
    python: str, version: tuple[int, ...], variable: str | None, environ: Mapping[str, str]
) -> Finding:
    found = f"{python}, Python {'.'.join(map(str, version))}, runs programs"
    if variable is not None:
        found += f" ({variable})"
    elif environ.get("VIRTUAL_ENV") and not (Path(environ["VIRTUAL_ENV"]) / "bin" / "python").is_file():
        text = f"{found}: the activated {environ['VIRTUAL_ENV']} has no bin/python"
        return note("python", text, "make that environment anew, or deactivate it")
    if version[:2] < _OLDEST_WARM:
        return note("python", found, "before Python 3.8 runs are not forked from a warm process: they start slower")
    return ok("python", found)


def _look_at_torch(
    python: str, version: str | None, environ: Mapping[str, str], gpus: Sequence[Gpu], *, is_other: bool
) -> Finding:
    """Tell torch's version; where there are GPUs, let a process of its own say whether torch sees them."""
    if version is None:
        return note("torch", "not installed, which only the built-in trainer needs", _install("training", is_other))
    if not gpus:
        return ok("torch", f"{version}; there is no GPU here for it to see")
    told = _ask(python, _ASK_TORCH, timeout_s=TORCH_ANSWER_S)
    if isinstance(told, str):
        return note("torch", f"{version} cannot be imported: {told}", "runs that import torch will fail so too")
    is_there, cuda, names = told
    if is_there:
        n = len(names)
        return ok("torch", f"{version}, CUDA {cuda}, sees {n} GPU{'s' * (n != 1)}: {', '.join(dict.fromkeys(names))}")
    if environ.get("CUDA_VISIBLE_DEVICES") == "":
        return note("torch", f"{version} sees no GPU: CUDA_VISIBLE_DEVICES is empty", "unset it to use the GPUs")
    why = "it was built without CUDA" if cuda is None else f"it was built for CUDA {cuda}"
    advice = "install a build of torch that fits the driver" if cuda else "install a build of torch with CUDA"
    return note("torch", f"{version} sees none of {len(gpus)} GPUs; {why}", advice)


def _install(extra: str, is_other: bool) -> str:
    place = " into the environment that runs programs" if is_other else ""
    return f"pip install 'sweepline[{extra}]'{place}"


def _look_at_wandb(version: str | None, environ: Mapping[str, str]) -> Finding:
    """Tell whether runs would be tracked, and where the key is; the key itself is not read."""
    where, host = find_wandb_key(environ), server_host(environ)
    key = f"key of {host} in {where}" if where else f"no key of {host}"
    mode = environ.get("WANDB_MODE")
    set_to = f", WANDB_MODE={mode}" if mode else ""
    if version is None:
        return note("wandb", f"not installed ({key}{set_to})", "only for tracking: pip install wandb")
    if where is None:
        return note("wandb", f"{version}, {key}{set_to}: runs are tracked offline", "for online: wandb login")
    return ok("wandb", f"{version}, {key}{set_to}")


def _look_at_extras(extras: Mapping[str, Mapping[str, str]], in_runs: Mapping[str, str | None]) -> Iterator[Finding]:
    """Yield which extras are there; what is missing is no fault."""
    there: list[str] = []
    missing: dict[str, str] = {}
    for extra, least in extras.items():
        found = {name: in_runs[name] if extra in _IN_RUNS else _version(name) for name in least}
        faults = ", ".join(filter(None, (_fault(name, found[name], least[name]) for name in least)))
        if faults:
            missing[extra] = faults
        else:
            there.append(extra)
    if there:
        yield ok("extras", ", ".join(there))
    for extra, faults in missing.items():
        yield note(f"extra {extra}", faults, f"if you need it: pip install 'sweepline[{extra}]'")


def _fault(name: str, version: str | None, least: str) -> str:
    if version is None:
        return f"{name} is not installed"
    return f"{name} {version} is older than {least}" if least and _numbers(version) < _numbers(least) else ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def read_extras(requirements: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
    """Return of each extra of sweepline its packages and the least version of each, as the installed package tells."""
    if requirements is None:
        try:
            requirements = metadata.requires("sweepline") or []
        except metadata.PackageNotFoundError:  # run from its sources
            requirements = []
    extras: dict[str, dict[str, str]] = {}
    for text in requirements:
        found = _REQUIREMENT.match(text)
        if found and found[3] and found[3] not in _BUNDLES and found[1] != "sweepline":
            least = _AT_LEAST.search(found[2])
            extras.setdefault(found[3], {})[found[1]] = least[1] if least else ""
    return extras
