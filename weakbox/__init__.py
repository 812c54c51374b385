"""What the commands do, from Python, as functions that return values.

    import weakbox as wb

    wb.run("my.yaml", in_process=True)
    wb.metrics("my.yaml")                                    # pandas.DataFrame
    wb.tables("dataset-run")                                 # its stages and their tables
    wb.table("dataset-run", "consensus", "pseudo_labels")    # pyarrow.Table, here of `weakbox label`
    wb.show("my.yaml", "val/cat/12.jpg")                     # matplotlib Figure; pip install 'weakbox[plot]'

TARGET is what the commands take: a config file, or the root of a run. Here it may also be the config itself, as plain
dictionaries and lists. Each function says in one line what is wrong by raising a `WeakboxError`.
"""

from weakbox._beside import check

check()

from pipeline.base.errors import UsageError, WeakboxError  # noqa: E402
from weakbox.api import export, label, metrics, plan, report, run, status, table, tables  # noqa: E402
from weakbox.pictures import show  # noqa: E402

__all__ = [
    "UsageError",
    "WeakboxError",
    "export",
    "label",
    "metrics",
    "plan",
    "report",
    "run",
    "show",
    "status",
    "table",
    "tables",
]
