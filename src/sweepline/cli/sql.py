"""``sweepline sql``: questions in SQL over the runs and histories of sweeps."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweepline.api import load_history, load_runs
from sweepline.cli.asjson import add_json, print_json
from sweepline.errors import ConfigError

HELP = "ask in SQL: tables runs and history"
DESCRIPTION = (
    "Answers a question in SQL (DuckDB) over two tables: runs, a row per run with its parameters and metrics, and "
    "history, a row per point of a run. It needs the extra 'sql'."
)
EXAMPLES = (
    ("sweepline sql 'select lr, avg(loss) as loss from runs group by lr order by loss'", "of ./sweep.yaml"),
    ("sweepline sql 'select count(*) from history' outputs/lr outputs/width --json", "of two sweeps, as JSON"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("query", help="such as: select lr, avg(loss) from runs group by lr")
    parser.add_argument(
        "sweeps", nargs="*", type=Path, default=[Path("sweep.yaml")], metavar="SWEEP", help="default: sweep.yaml"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print what the query returns.

    Raises:
        SweeplineError: nothing was run there, DuckDB is not installed, or the query is not understood.
    """
    try:
        import duckdb
        import pandas as pd
    except ImportError as error:
        raise ConfigError(f"sql needs {error.name}: pip install 'sweepline[sql]'") from None

    connection = duckdb.connect(":memory:", config={"enable_external_access": False})
    connection.register("runs", pd.concat([load_runs(sweep) for sweep in args.sweeps], ignore_index=True))
    if "history" in args.query.lower():
        folders = [sweep for sweep in args.sweeps if sweep.suffix != ".csv"]
        tables = [load_history(sweep) for sweep in folders]
        connection.register("history", pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"run_id": []}))
    try:
        found = connection.sql(args.query)
        table = None if found is None else found.df()
    except duckdb.Error as error:
        raise ConfigError(f"sql: {str(error).splitlines()[0]}") from None
    if table is None:
        raise ConfigError("sql: that is no question; begin with select")
    if args.json:
        print_json(table.astype(object).where(table.notna(), None).to_dict("records"))
    else:
        print(table.to_string(index=False) if len(table) else "(no rows)")
    return 0
