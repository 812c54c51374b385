"""Running jobs/configs/mini.yaml as a user does: the command in a process session of its own, which can be killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.config.implied import DUPLICATES, INGEST, TRUTH
from pipeline.config.run_config import load_config

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = "jobs/configs/mini.yaml"
STAGES = (INGEST, TRUTH, DUPLICATES, *load_config(str(REPOSITORY / CONFIG)).stages)
_MARK = "WEAKBOX_TEST_RUN"
_LOGS = tempfile.TemporaryDirectory(prefix="weakbox-test-")


@dataclass
class Command:
    """A started command. Every process that it leaves anywhere carries its mark in the environment."""

    process: subprocess.Popen
    log: Path
    mark: str

    def wait(self, timeout: float = 900) -> int:
        """The exit code."""
        return self.process.wait(timeout)

    def check(self) -> None:
        """Wait, and fail with the log unless the exit code is 0."""
        code = self.wait()
        assert code == 0, f"exit code {code}:\n{self.log.read_text()[-3000:]}"

    def kill(self) -> None:
        """SIGKILL the command itself, as the kernel would; what it had started is on its own."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM, as a job scheduler sends it."""
        self.process.send_signal(signal.SIGTERM)

    def processes(self) -> list[psutil.Process]:
        """All living processes that descend from the command, adopted ones too."""
        return [process for process in psutil.process_iter() if _mark_of(process) == self.mark]

    def gone(self, within: float = 150) -> bool:
        """Whether all its processes end by themselves.

        Within two seconds as a rule; agents of Ray that want to tell a GCS of the death that died with it try for
        60 seconds, and end then.
        """
        deadline = time.monotonic() + within
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.5)
        return not self.processes()

    def clean_up(self) -> None:
        """End whatever is left of it."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(_MARK) if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def s3_environment(url: str) -> dict[str, str]:
    """The variables by which everything finds an S3 server on this machine."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def forget_s3() -> None:
    """Forget file systems of servers that are gone: fsspec keeps one for the whole process, whatever its address."""
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()


def run(root: object, data: Path, *options: str, **environment: str) -> Command:
    """Start `weakbox run` of the mini config."""
    arguments = ["run", CONFIG, "--set", f"run_root={root}", "--set", f"dataset.root={data}", *options]
    return start([sys.executable, "-m", "jobs.cli", *arguments], **environment)


def start(arguments: list[str], **environment: str) -> Command:
    """Start a command in the repository, in a session of its own, its output in a file."""
    mark = uuid.uuid4().hex
    log = Path(_LOGS.name) / mark
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            arguments,
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_hear_ctrl_c,
            env={**os.environ, "OMP_NUM_THREADS": "1", _MARK: mark, **environment},
        )
    return Command(process, log, mark)


def _hear_ctrl_c() -> None:
    """What a shell puts into the background is deaf to Ctrl-C: so would be the tests, and all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(command: Command, reached: Callable[[], bool], timeout: float = 600) -> bool:
    """Wait until `reached()`; False if the command ended before."""
    deadline = time.monotonic() + timeout
    while not reached():
        if command.process.poll() is not None:
            return False
        assert time.monotonic() < deadline, f"not reached in {timeout} s:\n{command.log.read_text()[-3000:]}"
        time.sleep(0.2)
    return True
