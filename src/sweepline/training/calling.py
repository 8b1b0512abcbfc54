"""How a user's function or class is called: with which arguments, and whose line it is where that fails."""

from __future__ import annotations

import inspect
import re
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sweepline
from sweepline.errors import ConfigError, did_you_mean

_KEYS = {
    "root": "data.root",
    "seed": "seed",
    "lr": "learner.step_size",
    "weight_decay": "learner.weight_decay",
    "momentum": "learner.momentum",
    "betas": "learner.beta1 and learner.beta2",
    "eps": "learner.eps",
}
"""By the name of what is on offer, the key of the config that it follows from."""
_REFUSED = re.compile(r"got (?:an unexpected keyword|multiple values for(?: keyword)?) argument '(?P<name>\w+)'")
_LIBRARIES = ("site-packages", "dist-packages")
_ROOTS = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(sweepline.__file__).parent))

Parameters = Mapping[str, inspect.Parameter]


def call(target: Callable[..., Any], what: str, offered: Mapping[str, Any], args: Mapping[str, Any]) -> Any:
    """Call a user's object with ``args`` and with those of ``offered`` that it names.

    What only a base class names is not given where the class gives it to its base itself.

    Raises:
        ConfigError: it takes no such argument, needs one that is not given, or fails; in one sentence, with the line.
    """
    check_arguments(target, what, offered, args)
    parameters, inherited = parameters_of(target), _inherited(target)
    keywords = {name: value for name, value in offered.items() if name in parameters} | dict(args)
    while True:
        try:
            return target(**keywords)
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:
            match = _REFUSED.search(str(error)) if isinstance(error, TypeError) else None
            refused = match["name"] if match else ""
            if refused not in keywords or refused in args or refused not in inherited:
                reason = _reason(error, refused if refused in args else "", parameters, offered)
                raise ConfigError(f"{what}: {reason}") from error
            del keywords[refused]


def _reason(error: BaseException, refused: str, parameters: Parameters, offered: Mapping[str, Any]) -> str:
    """Return why a call has failed; ``refused`` is the user's argument that nothing has taken, where that is it."""
    if refused:
        own = [name for name in _named(parameters) if name not in offered]
        return f"takes no args.{refused}{did_you_mean(refused, own)} ({blame(error)})"
    if _takes_any(parameters) and not any(name in offered for name in parameters):
        return f"{blame(error)}; its **kwargs are given nothing but args: name what it needs of {', '.join(offered)}"
    return blame(error)


def check_arguments(target: Callable[..., Any], what: str, offered: Mapping[str, Any], args: Mapping[str, Any]) -> None:
    """Refuse arguments that an object does not take, lacks, or is given by the trainer.

    Raises:
        ConfigError: names them.
    """
    parameters = parameters_of(target)
    named = _named(parameters)
    own = [name for name in named if name not in offered]
    unknown = [] if _takes_any(parameters) else [name for name in args if name not in named]
    if unknown:
        hint = did_you_mean(unknown[0], own) or f"; it takes {', '.join(own) or 'none'}"
        raise ConfigError(f"{what}: takes no args.{unknown[0]}{hint}")
    for name in args:
        if name in offered and name in named:
            source = f", as {_KEYS[name]} has it" if name in _KEYS else ""
            raise ConfigError(
                f"{what}: args.{name} cannot be set, the trainer gives {name} itself{source}; an argument of your own "
                "needs another name"
            )
    given = {*offered, *args} | set(_inherited(target))
    missing = [name for name in named if parameters[name].default is inspect.Parameter.empty and name not in given]
    if missing:
        raise ConfigError(f"{what}: needs args.{missing[0]}; on offer are {', '.join(offered)}")


def parameters_of(target: Callable[..., Any]) -> Parameters:
    """Return what an object is called with; where a class passes ``**kwargs`` on, also what its bases name."""
    return {**_signature(target), **_inherited(target)}


def _inherited(target: Callable[..., Any]) -> Parameters:
    """Return what base classes alone name, up to one that passes nothing on."""
    own = _signature(target)
    found: dict[str, inspect.Parameter] = {}
    if not inspect.isclass(target) or not _takes_any(own):
        return found
    for base in inspect.getmro(target)[1:]:
        if "__init__" not in vars(base):
            continue
        _, *parameters = _signature(vars(base)["__init__"]).values()
        found |= {p.name: p for p in parameters if p.name not in {**own, **found} and p.name in _named({p.name: p})}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _signature(target: Callable[..., Any]) -> Parameters:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # of C code that tells none
        return {"args": inspect.Parameter("args", inspect.Parameter.VAR_KEYWORD)}


def _named(parameters: Parameters) -> list[str]:
    return [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _takes_any(parameters: Parameters) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def blame(error: BaseException) -> str:
    """Return an error of a user's code in one line, with the last line of theirs that led to it."""
    if isinstance(error, SyntaxError) and error.filename:
        where, text = f"{error.filename}:{error.lineno}: ", error.msg
    else:
        theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
        where = f"{theirs[-1].filename}:{theirs[-1].lineno}: " if theirs else ""
        text = " ".join(str(error).split())[:300]
    return f"{where}{type(error).__name__}: {text}" if text else f"{where}{type(error).__name__}"


def _is_theirs(filename: str) -> bool:
    """Whether a file is neither of a library nor of ours; compiled code tells names of files that are not there."""
    path = Path(filename)
    is_library = any(name in path.parts for name in _LIBRARIES) or any(path.is_relative_to(root) for root in _ROOTS)
    return not is_library and path.suffix == ".py" and path.is_file()
