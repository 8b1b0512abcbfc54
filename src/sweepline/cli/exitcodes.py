"""What the exit codes of ``sweepline`` mean: those that every command has. A command's own are in its file."""

from __future__ import annotations

EXIT_OK, EXIT_NOT_ALL, EXIT_UNUSABLE, EXIT_LOCKED = 0, 1, 2, 75
EXIT_SIGNAL_BASE = 128

MEANINGS = {
    EXIT_OK: "all is done and well",
    EXIT_NOT_ALL: "not all is well: runs did not finish, a check failed, things differ",
    EXIT_UNUSABLE: "nothing could start; standard error says what is wrong, and where",
    EXIT_LOCKED: "another process runs this sweep; try again when it has ended",
    129: "ended by SIGHUP (the terminal was closed); the same command goes on",
    130: "ended by Ctrl-C (SIGINT); the same command goes on",
    141: "the reader of the output has gone, as head does",
    143: "ended by SIGTERM; the same command goes on",
}
"""Those of signals are 128 and the signal's number, as in shells."""
