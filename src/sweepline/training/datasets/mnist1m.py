"""MNIST-1M: a million digits of 28x28 gray pixels in ten archives, one a class, made into arrays that processes map.

The arrays are read through the page cache, so that any number of runs share one copy of them in memory.
``python -m sweepline.training.datasets.mnist1m RAW_DIR`` makes them.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError, SweeplineError
from sweepline.training.datasets.examples import Examples, Split

FOLDER = "mnist1m"
N_CLASSES, SIDE = 10, 28
N_TEST, SEED = 50_000, 42
_MEAN, _DEVIATION = 0.1307, 0.3081  # of MNIST's pixels divided by 255
_MODES = {
    "RGB": "pixels in color",
    "RGBA": "pixels in color, or transparent ones",
    "LA": "transparent pixels",
    "P": "pixels of a palette",
    "I": "gray pixels of 16 bits",
    "I;16": "gray pixels of 16 bits",
}
_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, SyntaxError, ValueError, RuntimeError)  # of damaged images
_DIGIT = re.compile(r"(?<!\d)\d(?!\d)")  # that stands by itself


@dataclass(frozen=True)
class Mnist1M:
    """See :class:`~sweepline.training.datasets.examples.Dataset`; below ``root``, the folder of data sets."""

    root: Path

    def prepare(self) -> None:
        """Refuse where the arrays are not there.

        Raises:
            ConfigError: they are not; says how they are made.
        """
        missing = [p for split in ("train", "test") for p in array_paths(self.root, split) if not p.is_file()]
        if missing:
            raise ConfigError(
                f"data {FOLDER}: no {missing[0]}; sweepline data {FOLDER} RAW_DIR makes it of the ten archives, or set "
                "data.root or SWEEPLINE_DATA"
            )

    def load(self, split: Split) -> Examples:
        """Return one of its portions, mapped, not read.

        Raises:
            ConfigError: there are more images than classes, or fewer.
        """
        import numpy as np
        import torch

        # Copy on write: torch wants memory that may be written, and nothing writes it.
        paths = array_paths(self.root, split)
        images, labels = (torch.from_numpy(np.load(path, mmap_mode="c")) for path in paths)
        if len(images) != len(labels):
            raise ConfigError(
                f"{paths[1]}: {len(labels):,} classes for {len(images):,} images: they are of two conversions; run "
                f"sweepline data {FOLDER} RAW_DIR again"
            )
        return Examples(
            images, labels.to(torch.int64), scale=1 / (255 * _DEVIATION), shift=_MEAN / _DEVIATION, n_classes=N_CLASSES
        )


def array_paths(root: Path, split: str) -> tuple[Path, Path]:
    """Return the files of images (N, 28, 28) and of classes (N,), both uint8."""
    return root / FOLDER / f"{split}_images.npy", root / FOLDER / f"{split}_labels.npy"


def convert(raw: Path, root: Path, *, n_test: int = N_TEST, seed: int = SEED) -> tuple[int, int]:
    """Make the arrays of ten archives of PNG images and return how many images train and test.

    Args:
        raw: a folder with ten zip files; the class is the digit in their names.
        root: the folder of data sets, where ``mnist1m/`` is made.
        n_test: how many are held out for testing, of every class its share.
        seed: which they are, and in which order the others stand.

    Raises:
        ConfigError: there are not ten archives, or one holds something else; too few images for so many tests; the
            arrays cannot be written. Nothing half made stays.
    """
    import numpy as np

    archives = find_archives(raw)
    names = {digit: sorted(_images_in(path)) for digit, path in archives.items()}
    n_all = sum(map(len, names.values()))
    if not 0 < n_test < n_all:
        raise ConfigError(f"{raw}: holds {n_all:,} images, of which {n_test:,} cannot be held out; use --test")
    generator = np.random.default_rng(seed)
    places = list(_places(names, n_test, generator))
    with _made_whole(root):
        arrays = {split: _new_arrays(root, split, n) for split, n in (("train", n_all - n_test), ("test", n_test))}
        for digit, members, splits, rows in places:
            with zipfile.ZipFile(archives[digit]) as archive:
                for member, split, row in zip(members, splits, rows, strict=True):
                    images, labels = arrays[split]
                    images[row], labels[row] = _read_image(archive, member), digit
        for split, parts in arrays.items():
            for array, path in zip(parts, array_paths(root, split), strict=True):
                array.flush()
                _part(path).replace(path)  # whole or not at all
    return n_all - n_test, n_test


@contextmanager
def _made_whole(root: Path) -> Iterator[None]:
    """Make the folder of the arrays; remove what is half made, whatever ends this."""
    try:
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigError(
            f"{error.filename or root / FOLDER}: {error.strerror or error}; the arrays are made there: name another "
            "folder by --root, or make room"
        ) from None
    finally:
        for path in (path for split in ("train", "test") for path in array_paths(root, split)):
            with suppress(OSError):
                _part(path).unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """Return what an array is called while it is made."""
    return path.with_suffix(".npy.part")


def find_archives(raw: Path) -> dict[int, Path]:
    """Return the archive of each class.

    Raises:
        ConfigError: one is missing, or there are two.
    """
    found: dict[int, Path] = {}
    for path in sorted(raw.glob("*.zip")):
        digits = _DIGIT.findall(path.stem)
        if not digits or int(digits[-1]) in found:  # the last: mnist1m_0 is of 0
            raise ConfigError(f"{path}: its name should end in the digit that it is of, and no other archive's")
        found[int(digits[-1])] = path
    missing = sorted(set(range(N_CLASSES)) - set(found))
    if missing:
        raise ConfigError(f"{raw}: no archive of {', '.join(map(str, missing))}; ten zip files are needed, one a digit")
    return found


def _images_in(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            images = [i.filename for i in archive.infolist() if _is_image(i.filename)]
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: is no archive that can be read ({error}); fetch it again") from None
    if not images:
        raise ConfigError(f"{path}: holds no PNG image; each archive holds the images of its digit as PNG files")
    return images


def _is_image(member: str) -> bool:
    """Whether a file of an archive is an image by its name, and not what macOS adds to each."""
    *folders, name = member.lower().split("/")
    return name.endswith(".png") and not name.startswith("._") and "__macosx" not in folders


def _places(
    names: dict[int, list[str]], n_test: int, generator: Any
) -> Iterator[tuple[int, list[str], list[str], list[int]]]:
    """Yield for each digit its images, and of each in which portion and row it goes."""
    n_all = sum(map(len, names.values()))
    shares = {digit: n_test * len(members) // n_all for digit, members in names.items()}
    for digit in sorted(names, key=lambda digit: -(n_test * len(names[digit]) % n_all))[
        : n_test - sum(shares.values())
    ]:
        shares[digit] += 1
    order = {"train": list(generator.permutation(n_all - n_test)), "test": list(generator.permutation(n_test))}
    for digit, members in names.items():
        held_out = set(generator.permutation(len(members))[: shares[digit]].tolist())
        splits = ["test" if i in held_out else "train" for i in range(len(members))]
        yield digit, members, splits, [int(order[split].pop()) for split in splits]


def _new_arrays(root: Path, split: str, n: int) -> tuple[Any, Any]:
    import numpy as np

    images, labels = array_paths(root, split)
    shapes = ((images, (n, SIDE, SIDE)), (labels, (n,)))
    made = [np.lib.format.open_memmap(_part(path), mode="w+", dtype=np.uint8, shape=shape) for path, shape in shapes]
    return made[0], made[1]


def _read_image(archive: zipfile.ZipFile, member: str) -> Any:
    import numpy as np
    from PIL import Image

    where = f"{archive.filename}: {member}"
    try:
        with archive.open(member) as file, Image.open(file, formats=["PNG"]) as image:
            mode, is_transparent, (width, height) = image.mode, "transparency" in image.info, image.size
            pixels = np.asarray(image.convert("L") if mode == "1" else image)
    except (*_UNREADABLE, Image.DecompressionBombError):  # what PIL makes of it names objects of Python
        raise ConfigError(
            f"{where} is no PNG image that can be read; fetch the archive again, or take it out"
        ) from None
    if (width, height) != (SIDE, SIDE):
        raise ConfigError(f"{where} has {width} x {height} pixels; images of {SIDE} x {SIDE} are needed")
    is_gray = mode in ("1", "L")
    if mode in ("RGB", "RGBA"):
        is_gray = bool((pixels[..., 1:3] == pixels[..., :1]).all() and (pixels[..., 3:] == 255).all())
        pixels = pixels[..., 0]
    if not is_gray or is_transparent:
        got = "transparent pixels" if is_transparent else _MODES.get(mode, f"pixels of the mode {mode}")
        raise ConfigError(
            f"{where} has {got}; opaque gray ones of 8 bits are needed: convert it, or fetch the images as made"
        )
    return pixels


def main(argv: Sequence[str] | None = None) -> int:
    """Make the arrays; return 0, or 2 with a sentence."""
    import os

    from sweepline.contract import variables

    parser = argparse.ArgumentParser(prog=f"sweepline data {FOLDER}", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("raw", type=Path, metavar="RAW_DIR", help="folder with ten zip files, one a digit")
    parser.add_argument("--root", type=Path, help="folder of data sets (default: $SWEEPLINE_DATA, else ./data)")
    parser.add_argument("--test", type=int, default=N_TEST, help=f"how many are held out for testing ({N_TEST:,})")
    args = parser.parse_args(argv)
    root = args.root or Path(os.environ.get(variables.DATA) or "data").expanduser()
    try:
        n_train, n_test = convert(args.raw, root, n_test=args.test)
    except SweeplineError as error:
        print(f"sweepline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"{root / FOLDER}: {n_train:,} images to train on, {n_test:,} to test on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
