# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Executed by every Python of a run when it starts, also by those that its processes start; any version, any library.

Has each printed line go out in one write: lines of several processes and threads stay apart. Then it makes way.
"""

import sys


def _write_whole_lines(stream):
    """Hold text until its line ends or it is flushed, as in a terminal, that of each thread by itself."""
    from _thread import get_ident

    write, flush = stream.write, stream.flush
    begun = {}  # type: dict[int, str]  # lines by thread

    def write_lines(text):
        if not isinstance(text, str) or "\r" in text:  # a progress bar's; anything else is refused
            flush_begun()
            return write(text)
        thread, end = get_ident(), text.rfind("\n") + 1
        if end:
            write(begun.pop(thread, "") + text[:end])
        if end < len(text):
            begun[thread] = begun.get(thread, "") + text[end:]
        return len(text)

    def flush_begun():
        for thread in list(begun):
            if thread == get_ident() or thread not in sys._current_frames():  # one that lives may be in a print
                write(begun.pop(thread, ""))
        flush()

    stream.reconfigure(line_buffering=True)
    stream.write, stream.flush = write_lines, flush_begun


for _stream in (sys.stdout, sys.stderr):
    try:  # noqa: SIM105 (an import that takes time)
        _write_whole_lines(_stream)
    except Exception:  # there is none, or none that can: before Python 3.7
        pass
_own_folder = __file__.rpartition("/")[0]
sys.path[:] = [_folder for _folder in sys.path if _folder != _own_folder]
_own = sys.modules.pop(__name__)  # kept, as the oldest versions would clear it
__import__(__name__)  # the next one there is; where there is none, the error tells the interpreter so
