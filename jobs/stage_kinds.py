"""The command `stages`: the kinds of stages and readers there are, and the parameters of one."""

import inspect

import click

from jobs import output
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import describe
from pipeline.base.suggestions import nearest
from pipeline.config.implied import INGEST
from stages import catalog


@click.command()
@click.argument("kind", required=False)
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is stdout.")
def stages(kind: str | None, json_file: str | None) -> None:
    """List the kinds of stages, or the parameters of one: name, default, meaning.

    Readers of data sets are kinds, too: their parameters, those of ingest.folder for example, belong below `dataset`.
    An input is the name of the stage that is read; a resource never changes results.
    """
    if kind is None:
        rows: list[dict[str, Json]] = [{"kind": each, "what it does": _said(each)} for each in catalog.kinds()]
        names: tuple[str, ...] = ("kind", "what it does")
    else:
        known = _known(kind)
        names = ("parameter", "default", "sort", "meaning")
        rows = [dict(zip(names, row, strict=True)) for row in describe(catalog.params_type(known))]
        for row in rows:
            row["sort"] = "" if row["sort"] == "numeric" else row["sort"]
    if json_file:
        output.write_json(json_file, rows)
        return
    if kind is not None:
        output.say(f"{known}: {inspect.cleandoc(catalog.description(known))}")
    output.table(names, [[row[name] for name in names] for row in rows])


def _known(kind: str) -> str:
    """The kind that is meant; a reader may be called by its own name. Raises UsageError."""
    kinds = catalog.kinds()
    for name in (kind, f"{INGEST}.{kind}"):
        if name in kinds:
            return name
    raise UsageError(f"weakbox stages lists the kinds of stages; there is no {kind!r}{nearest(kind, kinds)}")


def _said(kind: str) -> str:
    return " ".join(inspect.cleandoc(catalog.description(kind)).partition("\n\n")[0].split())
