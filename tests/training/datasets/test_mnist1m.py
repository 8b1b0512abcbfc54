"""MNIST-1M from a made-up miniature of its ten archives: stratified, whole or not at all, and mapped, not read."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sweepline.errors import ConfigError
from sweepline.training.datasets import mnist1m
from sweepline.training.datasets.mnist1m import Mnist1M, array_paths, convert


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Ten archives of twenty images each, whose first pixel is their class and second their number."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for digit in range(10):
        with zipfile.ZipFile(folder / f"class_{digit}.zip", "w") as archive:
            for i in range(20):
                pixels = np.zeros((28, 28), dtype=np.uint8)
                pixels[0, :2] = digit, i
                data = io.BytesIO()
                Image.fromarray(pixels, mode="L").save(data, "PNG")
                archive.writestr(f"{digit}/{i:05d}.png", data.getvalue())
            archive.writestr("readme.txt", "no image")
    return folder


def test_all_images_arrive_once_stratified(raw: Path, tmp_path: Path) -> None:
    assert convert(raw, tmp_path, n_test=50) == (150, 50)
    met = set()
    for split, n in (("train", 15), ("test", 5)):
        images, labels = (np.load(path) for path in array_paths(tmp_path, split))
        assert np.bincount(labels).tolist() == [n] * 10
        assert (images[:, 0, 0] == labels).all()
        met |= {(int(image[0, 0]), int(image[0, 1])) for image in images}
        assert len(set(labels[:10].tolist())) > 3  # not in the order of the archives
    assert len(met) == 200
    before = [path.read_bytes() for path in array_paths(tmp_path, "train")]
    convert(raw, tmp_path, n_test=50)
    assert [path.read_bytes() for path in array_paths(tmp_path, "train")] == before


def test_it_is_trained_on_as_bytes_that_are_mapped(raw: Path, tmp_path: Path) -> None:
    convert(raw, tmp_path, n_test=50)
    train = Mnist1M(tmp_path).load("train")
    assert (train.inputs.dtype, train.n_classes, len(train)) == (torch.uint8, 10, 150)
    inputs, targets = train.batch(torch.arange(4))
    assert (inputs.shape, inputs.dtype) == ((4, 1, 28, 28), torch.float32)
    maps = Path("/proc/self/maps").read_text()
    assert str(array_paths(tmp_path, "train")[0]) in maps
    assert torch.equal(inputs[:, 0, 0, 0], train.inputs[:4, 0, 0] * train.scale - train.shift)
    assert targets.dtype == torch.int64


@pytest.mark.parametrize("fault", ["missing", "twice", "no archive", "no image", "size", "too many tests"])
def test_what_is_wrong_is_said_and_nothing_half_made_is_taken(raw: Path, tmp_path: Path, fault: str) -> None:
    path, n_test = raw / "class_3.zip", 50
    if fault == "missing":
        path.unlink()
    elif fault == "twice":
        path.rename(raw / "other_4.zip")
    elif fault == "no archive":
        path.write_bytes(b"nothing")
    elif fault == "no image":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("3/bad.png", b"nothing")
    elif fault == "size":
        data = io.BytesIO()
        Image.fromarray(np.zeros((5, 5), dtype=np.uint8)).save(data, "PNG")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("3/small.png", data.getvalue())
    else:
        n_test = 200
    with pytest.raises(ConfigError) as caught:
        convert(raw, tmp_path, n_test=n_test)
    assert str(raw) in str(caught.value)
    with pytest.raises(ConfigError, match="sweepline data mnist1m RAW_DIR makes it"):
        Mnist1M(tmp_path).prepare()


def png(mode: str, color: object = 0) -> bytes:
    data = io.BytesIO()
    Image.new(mode, (28, 28), color).save(data, "PNG")  # type: ignore[arg-type]
    return data.getvalue()


def add(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png("I;16", 300), "has gray pixels of 16 bits; opaque gray ones of 8 bits are needed"),
        (png("P", 3), "has pixels of a palette"),
        (png("RGB", (1, 2, 1)), "has pixels in color;"),
        (png("RGBA", (1, 1, 1, 100)), "has pixels in color, or transparent ones"),
        (png("LA", (1, 100)), "has transparent pixels"),
        (png("L")[:50], "is no PNG image that can be read; fetch the archive again"),
        (b"nothing", "is no PNG image that can be read; fetch the archive again"),
    ],
    ids=["16 bits", "palette", "color", "half transparent", "gray and transparent", "cut off", "no image"],
)
def test_pixels_that_are_not_gray_are_refused_by_name(raw: Path, tmp_path: Path, content: bytes, words: str) -> None:
    add(raw / "class_3.zip", "3/odd.png", content)
    with pytest.raises(ConfigError) as caught:
        convert(raw, tmp_path, n_test=50)
    assert f"class_3.zip: 3/odd.png {words}" in str(caught.value)
    assert "<" not in str(caught.value)
    assert not list((tmp_path / "mnist1m").iterdir())


def test_what_is_gray_in_another_form_is_taken_and_what_macos_adds_is_not(raw: Path, tmp_path: Path) -> None:
    for mode, color in (("1", 1), ("RGB", (7, 7, 7)), ("RGBA", (9, 9, 9, 255))):
        add(raw / "class_3.zip", f"3/{mode}.png", png(mode, color))
    add(raw / "class_3.zip", "__MACOSX/3/._00001.png", b"nothing")
    add(raw / "class_3.zip", "3/._1.png", b"nothing")
    assert convert(raw, tmp_path, n_test=50) == (153, 50)
    images = np.concatenate([np.load(array_paths(tmp_path, split)[0]) for split in ("train", "test")])
    assert sorted(images[:, 9, 9].tolist())[-4:] == [0, 7, 9, 255]


def test_an_archive_without_images_is_refused(raw: Path, tmp_path: Path) -> None:
    (raw / "class_4.zip").unlink()
    add(raw / "class_4.zip", "4/1.jpg", b"nothing")
    with pytest.raises(ConfigError, match=r"class_4\.zip: holds no PNG image; each archive"):
        convert(raw, tmp_path, n_test=50)
    assert not (tmp_path / "mnist1m").exists()


def test_nothing_half_made_stays_when_it_is_interrupted(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        assert len(list((tmp_path / "mnist1m").glob("*.part"))) == 4
        raise KeyboardInterrupt

    monkeypatch.setattr(mnist1m, "_read_image", interrupted)
    assert mnist1m.main([str(raw), "--root", str(tmp_path), "--test", "50"]) == 130
    assert not list((tmp_path / "mnist1m").iterdir())


@pytest.mark.parametrize("root", ["file", "file/below", "/proc/x"])
def test_a_root_that_cannot_be_made_is_said(raw: Path, tmp_path: Path, root: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="the arrays are made there: name another folder by --root"):
        convert(raw, tmp_path / root, n_test=50)


def test_the_command_makes_it(raw: Path, tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "sweepline.cli.main",
        "data",
        "mnist1m",
        str(raw),
        "--root",
        str(tmp_path),
        "--test",
        "50",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, "150 images to train on" in done.stdout) == (0, True), done.stderr
    bad = subprocess.run([*argv[:-4], "--root", "x"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "cannot be held out; use --test" in bad.stderr


def test_archives_may_bear_the_name_of_the_set(raw: Path, tmp_path: Path) -> None:
    for digit in range(10):
        (raw / f"class_{digit}.zip").rename(raw / f"mnist1m_{digit}.zip")
    assert convert(raw, tmp_path, n_test=50) == (150, 50)


def test_images_and_classes_of_two_conversions_are_refused(raw: Path, tmp_path: Path) -> None:
    convert(raw, tmp_path, n_test=50)
    old = array_paths(tmp_path, "train")[1].read_bytes()
    convert(raw, tmp_path, n_test=40)
    array_paths(tmp_path, "train")[1].write_bytes(old)
    with pytest.raises(ConfigError, match="150 classes for 160 images: they are of two conversions"):
        Mnist1M(tmp_path).load("train")
