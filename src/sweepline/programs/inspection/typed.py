"""Flags of parsers that read signatures: tyro, fire, HfArgumentParser, jsonargparse's CLI, LightningCLI, pyrallis."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweepline.programs.inspection.facts import Flag, Interface
from sweepline.programs.inspection.huggingface import TRAINING_ARGUMENTS, training_flags
from sweepline.programs.inspection.literals import called, keywords, last_name, literal
from sweepline.programs.inspection.reading import Definition, Source
from sweepline.programs.inspection.signatures import (
    flags_of_class,
    flags_of_function,
    initializer_of,
    label_of,
    resolve,
)

_JSON_STYLE = {"style": "argparse", "lists": "text", "booleans": "text"}
_TRAINING_WORDS = ("train", "fit", "main", "run")
_CONFIG_DECORATORS = ("pyrallis", "draccus")
_TRAINER_FLAGS = (
    Flag(name="trainer.max_epochs", kind="int", where="Lightning's Trainer"),
    Flag(name="trainer.gradient_clip_val", kind="float", where="Lightning's Trainer"),
    Flag(name="trainer.accumulate_grad_batches", kind="int", default=1, where="Lightning's Trainer"),
    Flag(name="trainer.precision", kind="str", where="Lightning's Trainer"),
)


def read_tyro(source: Source) -> Interface | None:
    """Return what ``tyro.cli(Args)`` takes."""
    if not source.imports("tyro"):
        return None
    call = next((call for _, call in source.calls() if called(call) == "cli" and call.args), None)
    return None if call is None else _of_definition(source, call.args[0], "tyro", {"style": "tyro"}, "no_flag")


def read_config_class(source: Source) -> Interface | None:
    """Return what pyrallis and draccus make of a dataclass: ``@pyrallis.wrap()``, or ``parse(config_class=Args)``."""
    if not source.imports(*_CONFIG_DECORATORS, "simple_parsing"):
        return None
    style = {"style": "argparse", "lists": "text", "booleans": "text"}
    for _, call in source.calls():
        given = keywords(call).get("config_class") or (call.args[0] if call.args else None)
        if called(call) == "parse" and resolve(source, given) is not None and given is not None:
            return _of_definition(source, given, "a dataclass", style, "text")
    for definition in source.definitions.values():
        is_wrapped = any(last_name(d.func) == "wrap" for d in definition.decorator_list if isinstance(d, ast.Call))
        if is_wrapped and isinstance(definition, ast.FunctionDef) and definition.args.args:
            annotation = definition.args.args[0].annotation
            if annotation is not None:
                return _of_definition(source, annotation, "a dataclass", style, "text")
    return None


def _of_definition(source: Source, node: ast.expr, parser: str, style: dict[str, str], boolean: str) -> Interface:
    definition = resolve(source, node)
    if definition is None:
        name = last_name(node) or "what it is given"
        note = f"{name} is not defined in the script or beside it, so that its flags are not known here"
        return Interface(parser=parser, style=style, notes=[note])
    flags = flags_of_function(source, definition, label=label_of(source, definition), boolean=boolean)
    return Interface(parser=parser, flags=flags, style=style)


def read_fire(source: Source) -> Interface | None:
    """Return what ``fire.Fire(...)`` takes: a function, a class, a dictionary of them, or the whole file."""
    call = next((call for _, call in source.calls() if called(call) == "Fire"), None)
    if call is None or not source.imports("fire"):
        return None
    node = call.args[0] if call.args else keywords(call).get("component")
    choices: dict[str, ast.expr | Definition | None] = {}
    if node is None:
        choices = {name: d for name, d in source.script.definitions.items() if isinstance(d, ast.FunctionDef)}
    elif isinstance(node, ast.Dict):
        keys = [literal(key, source.names) for key in node.keys]
        choices = dict(zip(map(str, keys), node.values, strict=True))
    if choices:
        word, notes = _choose(list(choices))
        chosen = choices[word]
        definition = chosen if chosen is None or isinstance(chosen, Definition) else resolve(source, chosen)
        return _fire(source, definition, [word], notes)
    return _fire(source, resolve(source, node), [], [])


def _fire(source: Source, definition: Definition | None, before: list[str], notes: list[str]) -> Interface:
    flags: list[Flag] = []
    if definition is None:
        notes = [*notes, "what it hands to fire is not defined in the script or beside it"]
    else:
        label = label_of(source, definition)
        flags = (
            flags_of_function(source, definition, label=label, boolean="text") if _takes_any(source, definition) else []
        )
        methods = _methods(definition) if isinstance(definition, ast.ClassDef) else {}
        if methods:
            word, more = _choose(list(methods))
            before, notes = [*before, word], [*notes, *more]
            flags += flags_of_function(source, methods[word], label=label, boolean="text")
    return Interface(parser="fire", flags=flags, style={"style": "fire"}, before=before, notes=notes)


def _takes_any(source: Source, definition: Definition) -> bool:
    return not isinstance(definition, ast.ClassDef) or initializer_of(source, definition) is not None


def _methods(cls: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}


def _choose(names: Sequence[str]) -> tuple[str, list[str]]:
    chosen = next((name for wanted in _TRAINING_WORDS for name in names if wanted in name.lower()), names[0])
    return chosen, [f"its commands are {', '.join(names)}; this file runs {chosen}"] if len(names) > 1 else []


def read_huggingface(source: Source) -> Interface | None:
    """Return what ``HfArgumentParser((ModelArguments, TrainingArguments))`` takes."""
    makers = ("HfArgumentParser", "TrlParser", "H4ArgumentParser")
    call = next((call for _, call in source.calls() if called(call) in makers and (call.args or call.keywords)), None)
    if call is None:
        return None
    node = call.args[0] if call.args else call.keywords[0].value
    nodes = node.elts if isinstance(node, (ast.Tuple, ast.List)) else [node]
    flags: list[Flag] = []
    notes: list[str] = []
    is_training = False
    for one in nodes:
        definition = resolve(source, one)
        known = last_name(one) in TRAINING_ARGUMENTS or (
            isinstance(definition, ast.ClassDef) and _is_training(source, definition)
        )
        is_training |= known
        if isinstance(definition, ast.ClassDef):
            flags += flags_of_class(source, definition, label=label_of(source, definition), boolean="text")
        elif not known:
            notes.append(
                f"{last_name(one)} is not defined in the script or beside it, so that its flags are not known here"
            )
    own = {flag.name for flag in flags}
    more = [flag for flag in training_flags() if flag.name not in own] if is_training else []
    if more:
        notes.append("of transformers' own TrainingArguments those flags are listed that are likely to be swept")
    flags = [replace(flag, is_required=False) if flag.name == "output_dir" else flag for flag in [*flags, *more]]
    after = ["--output_dir=${run_dir}"] if is_training else []
    style = {"style": "argparse", "booleans": "text"}
    return Interface(parser="HfArgumentParser", flags=flags, style=style, after=after, notes=notes)


def _is_training(source: Source, cls: ast.ClassDef) -> bool:
    bases = [last_name(base) for base in cls.bases]
    parents = [d for name in bases if isinstance(d := source.definitions.get(name), ast.ClassDef) and d is not cls]
    return any(name in TRAINING_ARGUMENTS for name in bases) or any(_is_training(source, parent) for parent in parents)


def read_lightning_cli(source: Source) -> Interface | None:
    """Return what LightningCLI takes: the parameters of a model and of its data, and some of the trainer's."""
    made = {
        d.name
        for d in source.definitions.values()
        if any(last_name(b) == "LightningCLI" for b in getattr(d, "bases", ()))
    }
    call = next((call for _, call in source.calls() if called(call) in {"LightningCLI", *made}), None)
    if call is None:
        return None
    given = keywords(call)
    parts = [
        (f"{name}.", given.get(key) or (call.args[i] if len(call.args) > i else None))
        for i, (name, key) in enumerate((("model", "model_class"), ("data", "datamodule_class")))
    ]
    flags: list[Flag] = []
    notes: list[str] = []
    for prefix, node in parts:
        definition = resolve(source, node)
        is_subclass = literal(given.get(f"subclass_mode_{prefix[:-1]}"), source.names) is True
        if definition is None or is_subclass:
            notes.append(_not_there(prefix[:-1], node))
        else:
            label = label_of(source, definition)
            flags += flags_of_function(source, definition, label=label, prefix=prefix, boolean="text")
    before = [] if literal(given.get("run"), source.names) is False else ["fit"]
    return Interface(
        parser="LightningCLI", flags=[*flags, *_TRAINER_FLAGS], style=_JSON_STYLE, before=before, notes=notes
    )


def _not_there(part: str, node: ast.expr | None) -> str:
    if node is None:
        return f"its {part} is chosen on the command line: add {part}: {{value: CLASS}} and {part}.init_args.NAME"
    return (
        f"the {part} {last_name(node)} is not defined in the script or beside it, so that its flags are not known here"
    )


def read_json_cli(source: Source) -> Interface | None:
    """Return what jsonargparse's ``CLI(main)`` takes."""
    if not source.imports("jsonargparse"):
        return None
    makers = ("CLI", "auto_cli")
    call = next((call for _, call in source.calls() if called(call) in makers), None)
    if call is None:
        return None
    node = call.args[0] if call.args else keywords(call).get("components")
    candidates = list(_components(source, node))
    if not candidates:
        return Interface(
            parser="jsonargparse", style=_JSON_STYLE, notes=["what its CLI calls is not defined beside it"]
        )
    word, notes = _choose([definition.name for definition in candidates])
    definition = next(definition for definition in candidates if definition.name == word)
    before = [word] if len(candidates) > 1 else []
    flags = flags_of_function(source, definition, label=label_of(source, definition), boolean="text")
    if isinstance(definition, ast.ClassDef) and (methods := _methods(definition)):
        method, more = _choose(list(methods))
        notes = [*notes, *more, f"flags of {word} stand left of {method}: move them there in command if you sweep one"]
        before = [*before, method]
        flags = flags_of_function(source, methods[method], label=label_of(source, definition), boolean="text")
    flags = [replace(flag, is_positional=flag.is_required) for flag in flags]
    return Interface(parser="jsonargparse", flags=flags, style=_JSON_STYLE, before=before, notes=notes)


def _components(source: Source, node: ast.expr | None) -> Iterator[Definition]:
    if node is None:
        yield from (d for d in source.script.definitions.values() if not d.name.startswith("_"))
        return
    for one in node.elts if isinstance(node, (ast.List, ast.Tuple)) else [node]:
        definition = resolve(source, one)
        if definition is not None:
            yield definition
