"""Code of another machine in the store of this one: each content once, under a name that means it alone."""

from __future__ import annotations

from pathlib import Path

from sweepline.engine.codestore import CodeStore


def kept(place: Path, **files: str) -> CodeStore:
    """Return a store that has kept files of a project as the state ``abc``."""
    paths = []
    for name, text in files.items():
        paths.append(place / f"{name}.py")
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_text(text)
    store = CodeStore(place)
    store.keep("abc", paths, base=place)
    return store


def take_in(ours: CodeStore, theirs: CodeStore, tmp_path: Path, state: str = "abc") -> str:
    return ours.take_in(theirs, state, lambda path: tmp_path / "a" / path.relative_to(tmp_path / "b"))


def test_the_same_files_are_the_same_state(tmp_path: Path) -> None:
    ours, theirs = (kept(tmp_path / name, train="1", model="2") for name in "ab")
    before = sorted((tmp_path / "a").rglob("*"))
    assert take_in(ours, theirs, tmp_path) == "abc"
    assert sorted((tmp_path / "a").rglob("*")) == before


def test_other_files_under_the_same_name_get_another_and_both_stay_whole(tmp_path: Path) -> None:
    ours, theirs = kept(tmp_path / "a", train="1"), kept(tmp_path / "b", train="other")
    name = take_in(ours, theirs, tmp_path, "abc+live")
    state = name.removesuffix("+live")
    assert state.startswith("abc.")
    assert ours.read("abc") == {tmp_path / "a" / "train.py": b"1"}
    assert ours.read(name) == {tmp_path / "a" / "train.py": b"other"}
    assert ours.manifest(name) is not None
    assert take_in(ours, theirs, tmp_path, "abc+live") == name


def test_a_state_that_is_not_whole_there_is_not_taken(tmp_path: Path) -> None:
    ours, theirs = kept(tmp_path / "a", train="1"), kept(tmp_path / "b", train="other")
    for path in (tmp_path / "b" / "code" / "files").iterdir():
        path.write_text("torn")
    assert take_in(ours, theirs, tmp_path) == "abc"
    assert ours.read("abc") == {tmp_path / "a" / "train.py": b"1"}
