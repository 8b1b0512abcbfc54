"""Files and folders that a script writes and reads, as far as its calls name them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from sweepline.programs.inspection.facts import FilePlace
from sweepline.programs.inspection.literals import called, keywords, last_name, literal, text_of
from sweepline.programs.inspection.paths import Scope, place_of_path
from sweepline.programs.inspection.reading import Source, nodes_within, where

OPENERS = ("open", "GFile", "Open", "File", "FastGFile")
_WRITERS: Mapping[str, tuple[int, Sequence[str]]] = {
    "to_csv": (0, ("path_or_buf",)),
    "to_json": (0, ("path_or_buf",)),
    "to_parquet": (0, ("path",)),
    "savefig": (0, ("fname",)),
    "save_image": (1, ("fp",)),
    "imwrite": (0, ()),
    "imsave": (0, ()),
    "save_weights": (0, ()),
    "save_pretrained": (0, ("save_directory",)),
    "savez": (0, ("file",)),
    "savez_compressed": (0, ("file",)),
    "makedirs": (0, ("name",)),
    "FileHandler": (0, ("filename",)),
    "basicConfig": (9, ("filename",)),
    "create_file_writer": (0, ("logdir",)),
    "FileWriter": (0, ("logdir",)),
    "CSVLogger": (0, ("save_dir", "filename")),
    "TensorBoardLogger": (0, ("save_dir",)),
    "TensorBoard": (0, ("log_dir",)),
    "ModelCheckpoint": (0, ("dirpath", "filepath")),
    "SummaryWriter": (0, ("log_dir", "logdir")),
}
"""What writes to a path: which argument it is, and by which names."""
_DEFAULTS = {"SummaryWriter": "runs", "TensorBoard": "logs", "CSVLogger": "", "ModelCheckpoint": ""}
_OF_A_PATH = ("mkdir", "write_text", "write_bytes", "touch")
_SAVERS = {"torch": 1, "np": 0, "numpy": 0, "model": 0, "net": 0, "keras": 1, "vutils": 1}
_DATASETS = re.compile(
    r"(?:Fashion|K|E|Q)?MNIST|CIFAR100?|ImageFolder|DatasetFolder|SVHN|STL10|ImageNet|Planetoid|TUDataset|CelebA|VOC\w+|"
    r"Coco\w+|Food101|Flowers102|OxfordIIITPet|LSUN|USPS|Omniglot|Caltech\d+|Reddit2?|QM9|PPI"
)
_LOOKS_LIKE_DATA = re.compile(r"(?:\.{1,2}/)*(?:data|dataset|datasets|inputs?|corpus)(?:/[\w./-]*)?$|\.\./")
_LISTERS = ("listdir", "scandir", "walk", "glob", "iglob", "ImageFolder")
_OF_A_PATH_READ = ("read_text", "read_bytes")
_LOADERS = ("torch", "np", "numpy", "joblib")


def mode_of(call: ast.Call) -> str:
    """Return the mode in which a call opens a file; ``r`` without one."""
    at = 0 if opens_itself(call) else 1
    node = keywords(call).get("mode") or (call.args[at] if len(call.args) > at else None)
    return text_of(node) or "r"


def opens_itself(call: ast.Call) -> bool:
    """Whether it is ``path.open("w")``, and not ``open(path, "w")``."""
    owner = last_name(getattr(call.func, "value", None))
    is_method = isinstance(call.func, ast.Attribute) and owner not in ("io", "os", "codecs", "gzip", "gfile", "h5py")
    return is_method and called(call) == "open" and re.fullmatch(r"[rwaxbt+]*", text_of(_first(call))) is not None


def opened_path(call: ast.Call) -> ast.expr | None:
    """Return the path that a call opens; None for one that opens nothing."""
    if called(call) not in OPENERS:
        return None
    if opens_itself(call):
        return call.func.value if isinstance(call.func, ast.Attribute) else None
    return _first(call)


def find_writes(source: Source, settings: Sequence[str]) -> list[FilePlace]:
    """Return what a script writes, each path once. ``settings`` are what it calls its flags."""
    return _each_once([*_paths(source, settings, _written), *_by_lightning(source)])


def find_reads(source: Source, settings: Sequence[str]) -> list[FilePlace]:
    """Return what a script reads, each path once."""
    return _each_once([*_paths(source, settings, _read), *_constant_inputs(source)])


def _paths(
    source: Source, settings: Sequence[str], choose: Callable[[ast.Call], ast.expr | None]
) -> Iterator[FilePlace]:
    """Yield the paths that ``choose`` finds in calls."""
    for file, function, call in source.calls_with_function():
        node = choose(call)
        if node is not None:
            yield place_of_path(Scope(source, function, settings), node, where(file, call), called(call))


def _constant_inputs(source: Source) -> Iterator[FilePlace]:
    """Yield relative paths that stand there as texts, and are there or look like data's."""
    folder = source.path.resolve().parent
    for file, part in source.parts:
        for _, node in nodes_within(part):
            for text in _texts(node):
                is_path = re.fullmatch(r"[\w./-]{2,100}", text) is not None and not text.startswith("/")
                is_there = is_path and re.search(r"/|\.\w", text) is not None and (folder / text).exists()
                if is_there or (is_path and _LOOKS_LIKE_DATA.match(text)):
                    path = text.removeprefix("./").rstrip("/")
                    yield FilePlace(path=path, where=where(file, node), is_relative=True)


def _texts(node: ast.AST) -> Iterator[str]:
    """Yield the texts that are handed to calls, bound to names or the defaults of parameters."""
    if isinstance(node, ast.Call) and called(node) not in (
        "add_argument",
        "option",
        "get",
        "getenv",
        "join",
        "getattr",
        "hasattr",
        "print",
    ):
        yield from filter(None, map(text_of, [*node.args, *keywords(node).values()]))
    elif isinstance(node, ast.Assign):
        yield from filter(None, [text_of(node.value)])
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from filter(None, map(text_of, node.args.defaults))


def _each_once(found: Sequence[FilePlace]) -> list[FilePlace]:
    kept: dict[tuple[str, str], FilePlace] = {}
    for place in found:
        if place.is_relative or place.setting:
            kept.setdefault((place.setting, place.path), place)
    return list(kept.values())


def _first(call: ast.Call) -> ast.expr | None:
    return call.args[0] if call.args else None


def _written(call: ast.Call) -> ast.expr | None:
    """Return the path that a call writes to; None where it writes nothing."""
    name = called(call)
    owner = getattr(call.func, "value", None)
    if name in OPENERS:
        return opened_path(call) if re.search(r"[wax+]", mode_of(call)) else None
    if name in _WRITERS:
        at, names = _WRITERS[name]
        given = keywords(call)
        node = next((given[key] for key in names if key in given), call.args[at] if len(call.args) > at else None)
        default = _DEFAULTS.get(name, "")
        if node is not None and literal(node, {}) is not None:
            return node
        return ast.Constant(default) if default else None
    if name in _OF_A_PATH and owner is not None:
        return _first(call) if last_name(owner) in ("os", "gfile") else owner
    if name == "save" and last_name(owner) in _SAVERS:
        at = _SAVERS[last_name(owner)]
        return call.args[at] if len(call.args) > at else None
    if name == "dump" and last_name(owner) == "joblib":
        return call.args[1] if len(call.args) > 1 else None
    return None


def _read(call: ast.Call) -> ast.expr | None:
    """Return the path that a call reads; None where it reads nothing."""
    name = called(call)
    owner = getattr(call.func, "value", None)
    if name in OPENERS:
        return None if re.search(r"[wax+]", mode_of(call)) else opened_path(call)
    if name in _OF_A_PATH_READ:
        return owner
    if (name == "load" and last_name(owner) in _LOADERS) or (
        name.startswith("read_") and last_name(owner) in ("pd", "pl")
    ):
        return _first(call)
    if _DATASETS.fullmatch(name) or (name in _LISTERS and last_name(owner) in ("os", "glob", "")):
        return keywords(call).get("root") or _first(call)
    return None


def _by_lightning(source: Source) -> Iterator[FilePlace]:
    """Yield the folder of Lightning's own logs, where its Trainer is told no other."""
    if not source.imports("lightning", "pytorch_lightning"):
        return
    for file, call in source.calls():
        given = keywords(call)
        is_told = "default_root_dir" in given or literal(given.get("logger"), source.names) is False
        if called(call) == "Trainer" and not is_told:
            yield FilePlace(path="lightning_logs", where=where(file, call), is_relative=True, call="Trainer")
