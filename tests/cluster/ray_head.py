"""A Ray head on this machine, started as users start one."""

import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import mini

RAY = str(Path(sys.executable).with_name("ray"))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


@contextmanager
def head(folder: Path, **environment: str) -> Iterator[str]:
    """A head with two CPUs and a dashboard, which takes jobs; yields the dashboard's URL."""
    port, dashboard, client, listen = free_ports(4)
    command = mini.start(
        [
            *(RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"),
            *(f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", f"--ray-client-server-port={client}"),
            *(f"--dashboard-agent-listen-port={listen}", "--num-cpus=2", f"--temp-dir={folder}"),
        ],
        **environment,
    )

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", dashboard)) == 0

    try:
        assert mini.wait_until(command, ready, 180), command.log.read_text()
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        command.terminate()
        command.gone(within=20)
        command.clean_up()
        shutil.rmtree(folder, ignore_errors=True)
