# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Executed by every Python of a run when it starts, also by those that its processes start; any version, any library.

Has each printed line go out in one write: lines of several processes and threads stay apart. Serves the code that the
sweep was started with, where there is such. Then it makes way.
"""

import sys

_LONGEST_HELD_S = 0.1  # of a line that grows


def _write_whole_lines(stream):  # noqa: C901 (one closure: no name of it is met in a program's own modules)
    """Hold text until its line ends, grows slowly, or is flushed, that of each thread by itself."""
    import os
    from _thread import get_ident
    from time import monotonic

    write, flush = stream.write, stream.flush
    begun, since = {}, {}  # type: dict[int, str], dict[int, float]  # lines by thread; when they last changed

    def write_lines(text):
        if not isinstance(text, str) or "\r" in text:  # a progress bar's; anything else is refused
            flush_begun()
            return write(text)
        thread, end = get_ident(), text.rfind("\n") + 1
        if end:
            write(begun.pop(thread, "") + text[:end])
        if end == len(text):
            return end
        if end or thread not in begun:
            begun[thread], since[thread] = text[end:], monotonic()
        elif monotonic() - since[thread] < _LONGEST_HELD_S:
            begun[thread] = begun.get(thread, "") + text  # as a signal's handler may have ended it meanwhile
        else:  # dots that tell of progress: the words of one print come faster
            write(begun.pop(thread, "") + text)
            begun[thread], since[thread] = "", monotonic()
        return len(text)

    def flush_begun():
        for thread in list(begun):
            if thread == get_ident() or thread not in sys._current_frames():  # one that lives may be in a print
                write(begun.pop(thread, ""))
        flush()

    def leave_nothing_to_a_child():
        try:  # noqa: SIM105 (an import that takes time)
            flush_begun()
        except Exception:  # closed, or nobody reads it: no reason to tell of at a fork
            pass

    stream.reconfigure(line_buffering=True)
    stream.write, stream.flush = write_lines, flush_begun
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=leave_nothing_to_a_child, after_in_child=begun.clear)


for _stream in (sys.stdout, sys.stderr):
    try:  # noqa: SIM105 (an import that takes time)
        _write_whole_lines(_stream)
    except Exception:  # there is none, or none that can: before Python 3.7
        pass
if sys.version_info >= (3, 8):  # noqa: UP036 (any interpreter that runs start)
    import os as _os

    if "SWEEPLINE_CODE" in _os.environ:
        import _sweepline_code  # type: ignore[import-not-found]

        _sweepline_code.install()
        del sys.modules["_sweepline_code"], _sweepline_code
_own_folder = __file__.rpartition("/")[0]
sys.path[:] = [_folder for _folder in sys.path if _folder != _own_folder]
_own = sys.modules.pop(__name__)  # kept, as the oldest versions would clear it
__import__(__name__)  # the next one there is; where there is none, the error tells the interpreter so
