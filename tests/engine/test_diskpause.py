"""Whether the disk has room, the pause while it has none, and which file systems other machines may share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweepline.engine import diskpause as room
from sweepline.engine.diskpause import RETRY_S, DiskPause, has_room
from sweepline.recording.mounts import find_network_mount


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(room, "time", found)
    return found


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A disk that has room or not, and counts who asks."""
    found = SimpleNamespace(has_room=False, n_asked=0)

    def ask(_: Path) -> bool:
        found.n_asked += 1
        return bool(found.has_room)

    monkeypatch.setattr(room, "has_room", ask)
    return found


# room


def test_a_folder_on_a_disk_with_room_has_room(tmp_path: Path) -> None:
    assert has_room(tmp_path)


def test_looking_for_room_leaves_nothing_behind(tmp_path: Path) -> None:
    has_room(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_has_no_room(tmp_path: Path) -> None:
    assert not has_room(tmp_path / "gone")


@pytest.mark.parametrize("n_bytes", [0, 1000])
def test_a_limit_on_the_size_of_files_is_no_full_disk(tmp_path: Path, n_bytes: int) -> None:
    code = f"""
import resource, signal, sys
from pathlib import Path
from sweepline.engine.diskpause import has_room
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, {n_bytes}))
sys.exit(has_room(Path({str(tmp_path)!r})))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_probe_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    (tmp_path / ".room").symlink_to(target)
    has_room(tmp_path)
    assert target.read_text() == "precious"


def test_a_folder_in_place_of_the_probe_is_no_room(tmp_path: Path) -> None:
    (tmp_path / ".room").mkdir()
    assert not has_room(tmp_path)


# the pause


def test_there_is_no_pause_at_first(tmp_path: Path, disk: SimpleNamespace) -> None:
    pause = DiskPause(tmp_path)
    assert (pause.is_on, pause.due, pause.try_end()) == (False, None, False)
    assert disk.n_asked == 0


def test_a_pause_is_news_once(tmp_path: Path) -> None:
    pause = DiskPause(tmp_path)
    assert [pause.begin() for _ in range(3)] == [True, False, False]


@pytest.mark.usefixtures("disk")
def test_a_pause_lasts_while_there_is_no_room(tmp_path: Path, clock: Clock) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    for _ in range(5):
        clock.now += RETRY_S
        assert not pause.try_end()
    assert pause.is_on


def test_a_pause_ends_once_there_is_room(tmp_path: Path, clock: Clock, disk: SimpleNamespace) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    disk.has_room = True
    clock.now += RETRY_S
    assert [pause.try_end(), pause.try_end()] == [True, False]
    assert not pause.is_on


def test_the_disk_is_asked_once_a_second_at_most(tmp_path: Path, clock: Clock, disk: SimpleNamespace) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    for _ in range(100):
        pause.try_end()
        clock.now += 0.1
    assert disk.n_asked <= 10


@pytest.mark.usefixtures("disk")
def test_the_next_look_at_the_disk_is_always_ahead(tmp_path: Path, clock: Clock) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    for _ in range(3):
        assert pause.due == clock.now + RETRY_S
        clock.now += RETRY_S
        pause.try_end()


def test_a_record_that_does_not_fit_during_a_pause_puts_off_the_next_look(tmp_path: Path, clock: Clock) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    clock.now += 0.5
    pause.begin()
    assert pause.due == clock.now + RETRY_S


def test_a_second_pause_is_news_again(tmp_path: Path, clock: Clock, disk: SimpleNamespace) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    disk.has_room = True
    clock.now += RETRY_S
    pause.try_end()
    assert pause.begin()


@pytest.mark.parametrize(
    ("started", "was_on"),
    [(1000.0 - 5, True), (1000.0, True), (1000.0 + RETRY_S, True), (1000.0 + RETRY_S + 0.001, False)],
    ids=["long before", "when it began", "when it ended", "after it"],
)
def test_a_run_met_the_full_disk_only_if_it_started_before_the_end_of_the_pause(
    tmp_path: Path, clock: Clock, disk: SimpleNamespace, started: float, was_on: bool
) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    disk.has_room = True
    clock.now += RETRY_S
    pause.try_end()
    clock.now += 100
    assert pause.was_on_since(started) is was_on


def test_a_run_meets_the_full_disk_while_the_pause_lasts(tmp_path: Path, clock: Clock) -> None:
    pause = DiskPause(tmp_path)
    pause.begin()
    assert pause.was_on_since(clock.now + 100)


def test_no_run_ever_met_a_disk_that_was_never_full(tmp_path: Path) -> None:
    assert not DiskPause(tmp_path).was_on_since(float("-1e9"))


@pytest.mark.parametrize(("n_held", "told"), [(0, ""), (3, ", 3 results held")])
def test_the_sentence_tells_where_how_much_and_what_to_do(tmp_path: Path, n_held: int, told: str) -> None:
    text = DiskPause(tmp_path).describe(n_held)
    assert text.startswith(f"disk full on {tmp_path} (")
    assert text.endswith(f" KiB free): launching paused{told}; free space and it continues")


def test_the_sentence_about_a_folder_that_is_gone_says_why_its_room_is_unknown(tmp_path: Path) -> None:
    assert "No such file or directory" in DiskPause(tmp_path / "gone").describe(0)


# file systems


def mountinfo(*mounts: tuple[str, str]) -> str:
    """Return /proc/self/mountinfo with these types and mount points."""
    lines = [
        f"{20 + i} 1 0:{i} / {point} rw,relatime shared:{i} - {kind} source rw,vers=4.2"
        for i, (kind, point) in enumerate(mounts)
    ]
    return "\n".join([*lines, ""])


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "9p", "fuse", "fuse.sshfs", "afs"],
)
def test_a_file_system_of_several_machines_is_told_with_its_mount_point(tmp_path: Path, kind: str) -> None:
    text = mountinfo(("ext4", "/"), (kind, str(tmp_path)))
    assert find_network_mount(tmp_path / "sweep", text) == f"{kind} at {tmp_path}"


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk", "nfsd", "xnfs"])
def test_a_file_system_of_this_machine_alone_is_no_reason_to_warn(tmp_path: Path, kind: str) -> None:
    assert find_network_mount(tmp_path, mountinfo(("nfs4", "/"), (kind, str(tmp_path)))) is None


def test_the_innermost_mount_counts(tmp_path: Path) -> None:
    text = mountinfo(("ext4", str(tmp_path / "home" / "me")), ("nfs4", str(tmp_path / "home")), ("ext4", "/"))
    assert find_network_mount(tmp_path / "home" / "me" / "sweep", text) is None
    assert find_network_mount(tmp_path / "home" / "you", text) == f"nfs4 at {tmp_path / 'home'}"


def test_of_two_mounts_on_one_point_the_later_counts(tmp_path: Path) -> None:
    assert find_network_mount(tmp_path, mountinfo(("nfs4", str(tmp_path)), ("ext4", str(tmp_path)))) is None
    assert find_network_mount(tmp_path, mountinfo(("ext4", str(tmp_path)), ("nfs4", str(tmp_path)))) is not None


def test_a_mount_point_whose_name_only_begins_alike_does_not_count(tmp_path: Path) -> None:
    assert find_network_mount(tmp_path / "data2", mountinfo(("ext4", "/"), ("nfs", str(tmp_path / "data")))) is None


@pytest.mark.parametrize(("name", "escaped"), [("a b", r"a\040b"), ("a\\b", r"a\134b"), ("a\tb", r"a\011b")])
def test_a_mount_point_with_unusual_characters_is_found(tmp_path: Path, name: str, escaped: str) -> None:
    text = mountinfo(("ext4", "/"), ("nfs4", f"{tmp_path}/{escaped}"))
    assert find_network_mount(tmp_path / name, text) == f"nfs4 at {tmp_path / name}"


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\x0b"])
def test_a_mount_point_with_a_character_that_splits_lines_elsewhere_is_found(tmp_path: Path, character: str) -> None:
    point = f"{tmp_path}/a{character}b"
    assert find_network_mount(Path(point), mountinfo(("ext4", "/"), ("nfs4", point))) == f"nfs4 at {point}"


def test_a_link_is_followed_to_where_the_folder_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    text = mountinfo(("ext4", "/"), ("nfs4", str(tmp_path / "shared")))
    assert find_network_mount(tmp_path / "link", text) == f"nfs4 at {tmp_path / 'shared'}"


@pytest.mark.parametrize("text", ["", "\n\n", "garbage", "1 2 3 - nfs", "1 2 3 4 5 6 -", " - "])
def test_a_table_of_mounts_that_says_nothing_is_no_reason_to_warn(tmp_path: Path, text: str) -> None:
    assert find_network_mount(tmp_path, text) is None


def test_this_machines_own_table_of_mounts_is_understood(tmp_path: Path) -> None:
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True).stdout
    is_local = kind.strip() in ("ext2/ext3", "tmpfs", "xfs", "btrfs", "overlayfs", "zfs")
    assert (find_network_mount(tmp_path) is None) == is_local
