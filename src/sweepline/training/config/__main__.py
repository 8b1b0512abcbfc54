"""``python -m sweepline.training.config [--json]``: print the page of the config, or its JSON schema."""

from __future__ import annotations

import sys

from sweepline.training.config.document import format_page, format_schema

if __name__ == "__main__":
    sys.stdout.write(format_schema() if sys.argv[1:] == ["--json"] else format_page())
