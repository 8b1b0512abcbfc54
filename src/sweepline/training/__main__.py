"""``python -m sweepline.training [--config F] -- key=value ...``: one run without an experiment folder."""

from sweepline.training.commandline import leave, main

if __name__ == "__main__":
    leave(main())
