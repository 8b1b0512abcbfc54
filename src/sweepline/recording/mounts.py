"""Which file system a folder lies on, as far as locks depend on it."""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|lustre|gpfs|beegfs|ceph|glusterfs|afs|9p|virtiofs|ocfs2|gfs2|pvfs2|wekafs|fuse(\..*)?"
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def find_network_mount(path: Path, mountinfo: str | None = None) -> str | None:
    """Return ``type at mount point`` when a folder is shared with other machines, or may be; else None.

    ``mountinfo`` is the text of /proc/self/mountinfo (proc(5)).
    """
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    target = path.resolve()
    best: tuple[int, str, str] | None = None
    for line in mountinfo.split("\n"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        point = Path(_ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), fields[4]))
        if (point == target or point in target.parents) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), kind, str(point))
    if best is None or not _NETWORK.fullmatch(best[1]):
        return None
    return f"{best[1]} at {best[2]}"
