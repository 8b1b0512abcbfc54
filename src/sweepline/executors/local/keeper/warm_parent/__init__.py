"""The warm parent: a process that has imported what runs import, and that becomes them by forking.

Executed by the runs' own interpreter, not by ours: standard library alone, Python 3.8 and later, nothing of sweepline.
It computes nothing, starts no thread and opens nothing; an import that does is told of, and nothing is forked then.
"""
