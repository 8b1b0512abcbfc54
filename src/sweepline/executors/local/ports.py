"""A free TCP port for every slot, so that runs at one time do not meet on a default one. Listens on none itself."""

from __future__ import annotations

import zlib

FIRST_PORT, N_PORTS = 20_000, 9_000  # below the ports that systems hand out, beside 29500, which programs fall back to


class Ports:
    """Chooses ports: the same for a run each time while it is free, never one that another slot has now."""

    def __init__(self) -> None:
        self._of_slot: dict[int, int] = {}

    def choose(self, run_id: str, slot: int) -> int:
        """Return a port for a run that starts in a slot; what the slot had before is free again."""
        others = {port for index, port in self._of_slot.items() if index != slot}
        start = zlib.crc32(run_id.encode())
        candidates = (FIRST_PORT + (start + i) % N_PORTS for i in range(N_PORTS))
        port = next((port for port in candidates if port not in others and _is_free(port)), FIRST_PORT)
        self._of_slot[slot] = port
        return port


def _is_free(port: int) -> bool:
    import socket  # a twentieth of a dry run's time, which needs it for other programs alone

    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
