"""What Keras tells of a training: on its lines, or where its output is turned off in the files of its callbacks."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweepline.programs.inspection.expressions import NUMBER, escape
from sweepline.programs.inspection.facts import UNKNOWN, Expression, FilePlace, Told
from sweepline.programs.inspection.literals import called, keywords, literal
from sweepline.programs.inspection.paths import Scope, place_of_path
from sweepline.programs.inspection.reading import Source, SourceFile, where

_PRINTED = "Keras"
_CALLBACKS = {"CSVLogger": ("filename", ""), "TensorBoard": ("log_dir", "logs")}
"""Callbacks that write files: by which name they are told where, and where they write otherwise."""


def find_keras(source: Source, settings: Sequence[str]) -> Iterator[Told]:
    """Yield the loss, and the metrics that ``compile`` names, of training and of validation data."""
    fits = [(file, call) for file, call in source.calls() if called(call) in ("fit", "fit_generator")]
    if not fits or not source.imports("keras", "tensorflow"):
        return
    file, fit = fits[-1]
    is_quiet = literal(keywords(fit).get("verbose"), source.names) == 0
    has_validation = {"validation_data", "validation_split"} & keywords(fit).keys()
    files = list(_files(source, settings))
    for name in _names(source):
        for prefix in ("", "val_") if has_validation else ("",):
            told = Told(name=f"{prefix}{name}", source="log", where=where(file, fit))
            start = "" if prefix else r"(?<!\w)"
            if not is_quiet:
                pattern = f"{start}{escape(told.name)}: {NUMBER}"
                yield replace(told, source="print", pattern=pattern, example=_PRINTED)
            elif files:
                yield _in_file(told, name, prefix, files[0])


def _names(source: Source) -> list[str]:
    names = ["loss"]
    for _, call in source.calls():
        metrics = literal(keywords(call).get("metrics"), source.names) if called(call) == "compile" else UNKNOWN
        names += [name for name in metrics if isinstance(name, str)] if isinstance(metrics, list) else []
    return list(dict.fromkeys(names))


def _files(source: Source, settings: Sequence[str]) -> Iterator[FilePlace]:
    """Yield the files of callbacks, tables first."""
    calls: list[tuple[SourceFile, ast.AST, ast.Call]] = list(source.calls_with_function())
    for name, (key, default) in _CALLBACKS.items():
        for file, function, call in calls:
            given = keywords(call).get(key) or (
                call.args[0] if call.args else ast.Constant(default) if default else None
            )
            if called(call) == name and given is not None:
                yield place_of_path(Scope(source, function, settings), given, where(file, call), name)


def _in_file(told: Told, name: str, prefix: str, place: FilePlace) -> Told:
    """Return a metric as a callback writes it: TensorBoard's has a folder for each part of the data."""
    if place.call == "CSVLogger":
        return replace(told, source="csv", file=place)
    part = "validation" if prefix else "train"
    folder = f"{place.path}/{part}" if place.path else part
    context = "validation" if prefix else "train"
    return replace(told, name=f"epoch_{name}", source="tensorboard", context=context, file=replace(place, path=folder))


def epochs_of_keras(found: Sequence[Told]) -> Iterator[Expression]:
    """Yield what finds the line ``Epoch 3/10``, which stands before the numbers of that epoch."""
    if any(told.example == _PRINTED for told in found):
        yield Expression(names=("epoch",), pattern=f"Epoch {NUMBER}/", key="epoch", example="Epoch 1/...")
