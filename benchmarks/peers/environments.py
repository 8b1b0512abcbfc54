"""An environment for each group of peers, made on first use in ``.bench/``; torch is borrowed from ours."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".bench"
PACKAGES = {
    "common": (
        "hydra-core==1.3.2",
        "hydra-joblib-launcher==1.2.0",
        "optuna==4.5.0",
        "ray[tune]==2.49.2",
        "submitit==1.5.3",
        "setuptools<81",  # submitit looks for pkg_resources
    ),
    "guild": ("guildai==0.9.0", "setuptools<70"),
    "syne": (
        "syne-tune[basic]==0.14.2",
        "xgboost-cpu==3.2.0",
        "botorch==0.15.1",
        "huggingface-hub==2.4.0",
        "fastparquet==2026.9.0",
        "s3fs==0.4.2",
    ),
}


def python_of(name: str) -> str | None:
    """Return the interpreter of an environment, ours for an empty name; None where it cannot be made."""
    if not name:
        return sys.executable
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        steps = (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES[name]],
        )
        for step in steps:
            done = subprocess.run(step, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode != 0:
                print(f"# {name}: {done.stderr.strip()}", file=sys.stderr)
                return None
        theirs = next((folder / "lib").glob("python*/site-packages"))
        (theirs / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        (folder / "ready").touch()
    return str(python)
