"""Running the stages of a target for one command."""

from jobs import stopping
from jobs.target import Target
from pipeline.contract.runner import Runner
from pipeline.running.progress import make_progress
from pipeline.running.run import Run, RunOptions
from pipeline.store import layout


def execute(opened: Target, address: str | None, in_process: bool, options: RunOptions) -> dict[str, int]:
    """Run what is missing; returns the number of shards computed for each stage that ran."""
    wanted = opened.config.resources

    def make_runner() -> Runner:
        if in_process:
            from pipeline.running.in_process import InProcessRunner

            return InProcessRunner()
        from jobs.ray_session import RaySession

        return RaySession(address, wanted.num_cpus, wanted.placement)

    with stopping.graceful(options.stop, wanted.grace):
        run = Run(opened.stages, opened.store, make_runner, wanted.resources(), make_progress(), options)
        return run.execute()


def publish_report(target: Target) -> str | None:
    """Copy the newest report to `<run root>/report.html`; returns its full path, None without a report stage."""
    for name, stage in target.stages.items():
        complete = target.store.newest_set(name) if stage.kind == "report" else None
        for done in complete.dones.values() if complete else ():
            target.store.files.put(layout.REPORT, target.store.blob(done, layout.REPORT))
            return f"{target.store.files.root}/{layout.REPORT}"
    return None
