"""Metrics that a script logs by name, and those that Keras, transformers and others print by themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sweepline.programs.inspection.facts import UNKNOWN, Told
from sweepline.programs.inspection.literals import called, keywords, last_name, literal, text_of
from sweepline.programs.inspection.metricwords import (
    SPLIT_WORDS,
    is_metric_name,
    metric_word,
    name_of,
    split_of,
    words_of,
)
from sweepline.programs.inspection.reading import Source, calls_within, where

_RUNS = ("wandb", "run", "wandb_run", "wandb_logger")
_TRAINERS = ("Trainer", "Seq2SeqTrainer", "SFTTrainer")
_NOTHING = ast.Constant(None)
_NUMBER = r"([\d.]+)"


def find_logged(source: Source) -> Iterator[Told]:
    """Yield what is logged, in the order of the text."""
    for file, function, call in ((f, fn, c) for f, part in source.parts for fn, c in calls_within(part)):
        kind, context = _kind(source, call), getattr(function, "name", "")
        for name in _names(source, call) if kind else ():
            if kind == "line" or is_metric_name(name):
                source_of = _seen_of_lightning(source, call, name) if kind == "lightning" else kind
                pattern = f"{re.escape(name)}\\W+{_NUMBER}" if source_of == "lightning" else ""
                yield Told(name=name, source=source_of, pattern=pattern, context=context, where=where(file, call))
    yield from _meters(source)
    yield from _geometric(source)
    yield from _keras(source)
    yield from _transformers(source)


def _kind(source: Source, call: ast.Call) -> str:
    """Return where a call logs to; empty for one that logs nothing by name."""
    name, owner = called(call), last_name(getattr(call.func, "value", None))
    if name == "log_metrics" and source.imports("sweepline"):
        return "line"
    if name in ("log", "log_dict") and owner in ("self", "model", "pl_module") and call.args:
        return (
            "wandb" if source.imports("wandb") and isinstance(call.args[0], ast.Dict) and name == "log" else "lightning"
        )
    if name == "log" and owner in _RUNS:
        return "wandb"
    if name in ("add_scalar", "add_scalars") or (name == "scalar" and owner == "summary"):
        return "tensorboard"
    is_own = name == "log" and len(call.args) > 1 and bool(text_of(call.args[0])) and "%" not in text_of(call.args[0])
    is_log = (
        is_own
        or name in ("log_metric", "log_metrics")
        or (name == "log" and owner in ("accelerator", "fabric", "mlflow"))
    )
    return "log" if is_log else ""


def _seen_of_lightning(source: Source, call: ast.Call, name: str) -> str:
    """Return where ``self.log`` shows a value: in the progress bar, in the table of a test, in W&B, or nowhere."""
    is_in_bar = literal(keywords(call).get("prog_bar"), source.names) is True
    wanted = {"test": "test", "val": "validate"}.get(split_of(words_of(name)), "")
    is_in_table = any(called(other) == wanted for _, other in source.calls())
    if is_in_bar or is_in_table:
        return "lightning"
    return "wandb" if any(called(other) == "WandbLogger" for _, other in source.calls()) else "log"


def _names(source: Source, call: ast.Call) -> Iterator[str]:
    """Yield the names that a call logs under, those that are written out."""
    for arg in call.args[:1]:
        if isinstance(arg, ast.Dict):
            keys = [literal(key, source.names) for key in arg.keys if key is not None]
            yield from (key for key in keys if isinstance(key, str))
        elif name := text_of(arg, source.names):
            yield name
        elif isinstance(arg, ast.JoinedStr):
            yield from _of_each_part(source, arg)
        elif isinstance(arg, ast.Name):
            yield from _keys_of_local(source, arg.id)
    if called(call) == "log_metrics" and source.imports("sweepline"):
        yield from (name for name in keywords(call) if name not in ("epoch", "step", "samples"))


def _of_each_part(source: Source, node: ast.JoinedStr) -> Iterator[str]:
    """Yield the names of ``f"{stage}_loss"`` for the parts of the data that a call of the script names."""
    if sum(isinstance(value, ast.FormattedValue) for value in node.values) != 1:
        return
    handed = {text_of(arg) for _, call in source.calls() for arg in call.args}
    for part in (word for word in SPLIT_WORDS if word in handed):
        yield "".join(str(value.value) if isinstance(value, ast.Constant) else part for value in node.values)


def _keys_of_local(source: Source, name: str) -> Iterator[str]:
    """Yield the keys of a dictionary that was put together before: ``metrics = {...}``, ``metrics["loss"] = ...``."""
    for _, part in source.parts:
        for node in ast.walk(part):
            if not isinstance(node, ast.Assign):
                continue
            target = node.targets[0]
            if last_name(target) == name and isinstance(node.value, ast.Dict):
                yield from (
                    key.value for key in node.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
                )
            elif (
                isinstance(target, ast.Subscript) and last_name(target.value) == name and (key := text_of(target.slice))
            ):
                yield key


def _meters(source: Source) -> Iterator[Told]:
    """Yield what meters with a name and a format show: ``AverageMeter("Acc@1", ":6.2f")``."""
    for file, function, call in ((f, fn, c) for f, part in source.parts for fn, c in calls_within(part)):
        texts = [text_of(arg) for arg in call.args]
        if called(call).endswith("Meter") and texts and is_metric_name(texts[0]):
            pattern = f"{re.escape(texts[0])}\\s*{_NUMBER}"
            name = name_of(words_of(texts[0]))
            context = getattr(function, "name", "")
            yield Told(
                name=name,
                source="print",
                pattern=pattern,
                context=context,
                where=where(file, call),
                example=f"{texts[0]} ...",
            )


def _geometric(source: Source) -> Iterator[Told]:
    """Yield what PyTorch Geometric's ``log(Epoch=..., Val=val_acc)`` prints."""
    for file, call in source.calls() if source.imports("torch_geometric.logging") else ():
        for key, value in keywords(call).items() if called(call) == "log" else ():
            words = words_of(key) if is_metric_name(key) else words_of(last_name(value))
            if metric_word(words):
                pattern = f"(?<!\\w){key}: {_NUMBER}"
                yield Told(
                    name=name_of(words), source="print", pattern=pattern, where=where(file, call), example=f"{key}: ..."
                )


def _keras(source: Source) -> Iterator[Told]:
    """Yield what Keras prints for each epoch: the loss, and the metrics that ``compile`` names."""
    if not source.imports("keras", "tensorflow"):
        return
    fits = [(file, call) for file, call in source.calls() if called(call) in ("fit", "fit_generator")]
    if not fits:
        return
    file, fit = fits[-1]
    names = ["loss"]
    for _, call in source.calls():
        metrics = literal(keywords(call).get("metrics"), source.names) if called(call) == "compile" else UNKNOWN
        names += [name for name in metrics if isinstance(name, str)] if isinstance(metrics, list) else []
    has_validation = {"validation_data", "validation_split"} & keywords(fit).keys()
    for name in dict.fromkeys(names):
        for prefix in ("", "val_") if has_validation else ("",):
            start = "" if prefix else r"(?<!\w)"
            pattern = f"{start}{prefix}{name}: {_NUMBER}"
            yield Told(name=f"{prefix}{name}", source="print", pattern=pattern, where=where(file, fit), example="Keras")


def _transformers(source: Source) -> Iterator[Told]:
    """Yield what the Trainer of transformers prints: losses, with an evaluation what ``compute_metrics`` returns."""
    makers = [call for _, call in source.calls() if called(call) in _TRAINERS]
    if not makers or not source.imports("transformers", "trl"):
        return
    place = f"transformers' {called(makers[0])}"
    has_evaluation = any(
        called(call) == "evaluate" or literal(keywords(call).get("eval_dataset", _NOTHING), {}) is not None
        for _, call in source.calls()
    )
    names = ["eval_loss"] if has_evaluation else []
    for definition in source.definitions.values():
        if has_evaluation and definition.name == "compute_metrics":
            for node in ast.walk(definition):
                if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
                    names += [f"eval_{name}" for key in node.value.keys if (name := text_of(key))]
    for name in ["train_loss", *dict.fromkeys(names)]:
        yield Told(
            name=name, source="print", pattern=f"{name}'?\\s*[=:]\\s*'?{_NUMBER}", where=place, example="Trainer"
        )
