"""Metrics that a script leaves in files: CSV, JSON and JSON lines, and which file that is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from sweepline.programs.inspection.facts import FilePlace, Told
from sweepline.programs.inspection.fileuse import mode_of, opened_path
from sweepline.programs.inspection.literals import called, keywords, last_name, text_of
from sweepline.programs.inspection.mappings import keys_of, strings_of
from sweepline.programs.inspection.metricwords import is_metric_name
from sweepline.programs.inspection.paths import Scope, place_of_path
from sweepline.programs.inspection.reading import Source, SourceFile, where

_HEADER = re.compile(r"[\w@./ -]+(?:,[\w@./ -]+)+\n?")


def find_in_files(source: Source, settings: Sequence[str]) -> Iterator[Told]:
    """Yield the metrics that go to files under names that the text tells."""
    for file, function, call in source.calls_with_function():
        kind, names, path = _written(source, function, call)
        if path is None or not names:
            continue
        place = place_of_path(Scope(source, function, settings), path, where(file, call), called(call))
        if kind == "csv" or place.path.endswith((".json", ".jsonl", ".txt", ".log", ".ndjson")):
            yield from _told(kind, names, place, function)


def _told(kind: str, names: Sequence[str], place: FilePlace, function: ast.AST) -> Iterator[Told]:
    context = f"{getattr(function, 'name', '')} {place.path}"
    for name in names:
        if is_metric_name(name):
            yield Told(name=name, source=kind, context=context, where=place.where, file=place)


def _written(source: Source, function: ast.AST, call: ast.Call) -> tuple[str, list[str], ast.expr | None]:
    """Return what a call writes: the kind of file, the names in it, and its path; nothing for any other call."""
    name, args = called(call), call.args
    owner = getattr(call.func, "value", None)
    if name == "DictWriter" and args:
        fields = keywords(call).get("fieldnames") or (args[1] if len(args) > 1 else None)
        names = strings_of(source, fields, function) or keys_of(source, fields, function)
        return "csv", names, _path_of_handle(source, args[0], function)
    if name == "writerow" and args:
        return "csv", strings_of(source, args[0], function), _path_of_writer(source, owner, function)
    if name == "to_csv":
        return "csv", keys_of(source, owner, function), args[0] if args else keywords(call).get("path_or_buf")
    if name == "dump" and last_name(owner) in ("json", "simplejson", "ujson") and len(args) > 1:
        return "json", keys_of(source, args[0], function), _path_of_handle(source, args[1], function)
    if name in ("write", "write_text", "print") and args:
        return _of_text(source, function, call, owner)
    return "", [], None


def _of_text(
    source: Source, function: ast.AST, call: ast.Call, owner: ast.expr | None
) -> tuple[str, list[str], ast.expr | None]:
    """Return what ``file.write(json.dumps(...))`` writes, or a line with the names of columns."""
    handle = keywords(call).get("file") if called(call) == "print" else owner
    if handle is None:
        return "", [], None
    path = handle if called(call) == "write_text" else _path_of_handle(source, handle, function)
    made = dumped(source, call.args[0], function)
    if made is not None:
        return "json", keys_of(source, made, function), path
    header = text_of(call.args[0])
    is_header = _HEADER.fullmatch(header) is not None
    return ("csv", [cell.strip() for cell in header.split(",")], path) if is_header else ("", [], None)


def dumped(source: Source, node: ast.expr, function: ast.AST) -> ast.expr | None:
    """Return what ``json.dumps(x)`` writes, also where a name stands for it or a line break follows."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return dumped(source, node.left, function)
    if isinstance(node, ast.Name):
        values = [value for value in source.values_of(node.id, function) if not isinstance(value, ast.Name)]
        return next((found for value in values if (found := dumped(source, value, function)) is not None), None)
    return node.args[0] if isinstance(node, ast.Call) and called(node) == "dumps" and node.args else None


def _path_of_handle(source: Source, node: ast.expr | None, function: ast.AST) -> ast.expr | None:
    """Return the path of a file that is open for writing."""
    values = (
        [node]
        if isinstance(node, ast.Call)
        else source.values_of(last_name(node), function, node.lineno if node else 0)
    )
    for value in values:
        path = opened_path(value) if isinstance(value, ast.Call) else None
        if path is not None and isinstance(value, ast.Call) and re.search(r"[wax+]", mode_of(value)):
            return path
    return None


def _path_of_writer(source: Source, node: ast.expr | None, function: ast.AST) -> ast.expr | None:
    """Return the path of the file of ``csv.writer(file)``."""
    for value in source.values_of(last_name(node), function):
        if isinstance(value, ast.Call) and called(value) == "writer" and value.args:
            return _path_of_handle(source, value.args[0], function)
    return None


def own_csv_files(source: Source) -> list[tuple[SourceFile, FilePlace]]:
    """Return the names of the CSV files of a logger that takes its columns from what it is handed."""
    found = []
    for file in {id(f): f for f, _, call in source.calls_with_function() if called(call) == "DictWriter"}.values():
        for node in ast.walk(file.tree):
            text = text_of(node) if isinstance(node, ast.Constant) else ""
            if re.fullmatch(r"[\w./-]+\.csv", text):
                found.append((file, FilePlace(path=text, where=where(file, node), call="DictWriter")))
    return found
