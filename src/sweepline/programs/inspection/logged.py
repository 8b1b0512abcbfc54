"""Metrics that a script logs by name: W&B, Lightning, TensorBoard, MLflow; what Keras and transformers print by themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sweepline.programs.inspection.facts import UNKNOWN, Told
from sweepline.programs.inspection.literals import called, keywords, last_name, literal, text_of
from sweepline.programs.inspection.metricwords import metric_word, words_of
from sweepline.programs.inspection.reading import Source, where

_RUNS = ("wandb", "run", "wandb_run", "wandb_logger")
_TRAINERS = ("Trainer", "Seq2SeqTrainer", "SFTTrainer")
_NUMBER = r"([\d.]+)"


def find_logged(source: Source) -> Iterator[Told]:
    """Yield what is logged, in the order of the text."""
    for file, call in source.calls():
        kind = _kind(source, call)
        for name in _names(source, call) if kind else ():
            if kind == "line" or metric_word(words_of(name)):
                pattern = f"{name.replace('.', chr(92) + '.')}\\W+{_NUMBER}" if kind == "lightning" else ""
                yield Told(name=name, source=kind, pattern=pattern, where=where(file, call))
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
    is_log = name in ("log_metric", "log_metrics") or (name == "log" and owner in ("accelerator", "fabric", "mlflow"))
    return "log" if is_log else ""


def _names(source: Source, call: ast.Call) -> Iterator[str]:
    """Yield the names that a call logs under, those that are written out."""
    for arg in call.args[:1]:
        if isinstance(arg, ast.Dict):
            keys = [literal(key, source.names) for key in arg.keys if key is not None]
            yield from (key for key in keys if isinstance(key, str))
        elif name := text_of(arg, source.names):
            yield name
        elif isinstance(arg, ast.Name):
            yield from _keys_of_local(source, arg.id)
    if called(call) == "log_metrics" and source.imports("sweepline"):
        yield from (name for name in keywords(call) if name not in ("epoch", "step", "samples"))


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
    """Yield what the Trainer of transformers prints: losses, and with an evaluation what ``compute_metrics`` returns."""
    makers = [call for _, call in source.calls() if called(call) in _TRAINERS]
    if not makers or not source.imports("transformers", "trl"):
        return
    place = f"transformers' {called(makers[0])}"
    has_evaluation = any(
        called(call) == "evaluate" or {"eval_dataset"} & keywords(call).keys() for _, call in source.calls()
    )
    names = ["eval_loss"] if has_evaluation else []
    for definition in source.definitions.values():
        if has_evaluation and definition.name == "compute_metrics":
            for node in ast.walk(definition):
                if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
                    names += [f"eval_{key.value}" for key in node.value.keys if isinstance(key, ast.Constant)]
    for name in ["train_loss", *dict.fromkeys(names)]:
        yield Told(
            name=name, source="print", pattern=f"{name}'?\\s*[=:]\\s*'?{_NUMBER}", where=place, example="Trainer"
        )
