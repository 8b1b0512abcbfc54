"""Executed by every Python of a run when it starts, also by those that its processes start; any version, any library.

Has each printed line go out in one write: those of several processes that share a log stay apart. Then it makes way.
"""

import sys

_LONGEST_LINE = 1 << 20  # characters

for _stream in (sys.stdout, sys.stderr):  # text is held until its line ends, or it is flushed, as in a terminal
    try:
        _stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
        _stream._CHUNK_SIZE = _LONGEST_LINE  # type: ignore[union-attr]
    except Exception:  # there is none, or none of Python's own
        pass
_own_folder = __file__.rpartition("/")[0]
sys.path[:] = [_folder for _folder in sys.path if _folder != _own_folder]
del sys.modules[__name__]
__import__(__name__)  # the next one there is; where there is none, the error tells the interpreter so
