"""The environment of a run on a node of Ray: the sweep's, but for what is the node's own."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sweepline.contract.variables import CODE

DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")
"""What Ray sets for a task that has devices: those of the sweep's own machine mean others, or none."""

_NVIDIA = DEVICES[0]
_OF_MACHINE = ("HOSTNAME", "TMPDIR")
_OF_ACCOUNT = ("HOME", "LOGNAME", "SHELL", "USER", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
_SEARCHED = ("PATH", "LD_LIBRARY_PATH")


def build_environment(
    sent: Mapping[str, str], node: Mapping[str, str], *, has_devices: bool, is_shared: bool
) -> dict[str, str]:
    """Return the variables of a run.

    ``RAY_*`` are left out: a run is no part of the job that starts it. Of ``PATH`` and ``LD_LIBRARY_PATH`` the sweep's
    folders come first, and then what the node has besides.

    Args:
        sent: what the sweep wants it to have.
        node: what Ray's worker has.
        has_devices: whether Ray gives the run devices; else it sees none, like a CPU slot of one machine.
        is_shared: whether the node sees the folder of the sweep; else it is another machine in all respects: homes are
            its own, and there is no copy of the code to run from.
    """
    of_node = (*DEVICES, *_OF_MACHINE, *(() if is_shared else _OF_ACCOUNT))
    left_out = {*of_node, *(() if is_shared else (CODE,))}
    found = {name: value for name, value in sent.items() if name not in left_out and not name.startswith("RAY_")}
    found |= {name: node[name] for name in of_node if name in node}
    found |= {name: _joined(sent.get(name, ""), node.get(name, "")) for name in _SEARCHED if name in {**sent, **node}}
    return found if has_devices else {**found, _NVIDIA: ""}


def _joined(first: str, second: str) -> str:
    parts = first.split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*parts, *second.split(os.pathsep)] if second else parts))
