"""The command `doctor`: whether a run would work here."""

from collections.abc import Iterator

import click

from jobs import output


@click.command()
@click.argument("target", required=False)
@click.option("--no-ray", is_flag=True, help="Do not try whether Ray starts, which takes ten seconds.")
def doctor(target: str | None, no_ray: bool) -> int:
    """Say what this machine has and what would break; with TARGET also whether its root, data and weights are there.

    Nothing is computed, and nothing written but Ray's own temporary files. Exit code 1 where a run would break.
    """
    from jobs import health  # brings torch along

    def findings() -> Iterator[health.Finding]:
        yield from health.of_machine()
        if not no_ray:
            yield from health.of_ray()
        if target is not None:
            yield from health.of_target(target)

    found = list(findings())
    output.table(("", "", ""), found)
    return 1 if any(finding.level == "bad" for finding in found) else 0
