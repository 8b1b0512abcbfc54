"""``python -m sweepline.training [--config F] -- key=value ...``: one run without an experiment folder."""

import sys

from sweepline.training.single import main

if __name__ == "__main__":
    sys.exit(main())
