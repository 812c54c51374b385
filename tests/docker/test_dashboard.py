"""The Grafana dashboard asks for numbers that a run really gives."""

import json
import re
import time
import urllib.request

import pytest

from pipeline.store.records import Done
from tests.docker.image import FOLDER

NAME = re.compile(r"ray_weakbox_\w+")


def asked() -> set[str]:
    """The metrics of all panels and variables."""
    return set(NAME.findall((FOLDER / "grafana/weakbox.json").read_text()))


def test_every_panel_has_a_place_and_asks_for_something():
    """Breaks when panels overlap, or one was left without a query."""
    board = json.loads((FOLDER / "grafana/weakbox.json").read_text())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
    assert len(asked()) >= 5


@pytest.mark.long
@pytest.mark.usefixtures("ray_local")
def test_ray_s_endpoint_gives_what_the_dashboard_asks_for():
    """Breaks when a metric is renamed, or Ray exports it under another name."""
    import ray

    from pipeline.on_ray.metrics import Metrics

    metrics = Metrics("cam")
    metrics.done(Done("cam", "r", "k", "a", {}, {}, 5, 1, 1.5, {"read": 0.5}))
    metrics.actors(2)
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    given: set[str] = set()
    for _ in range(30):
        given = set(NAME.findall(opener.open(url, timeout=10).read().decode()))
        if asked() <= given:
            break
        time.sleep(2)
    assert asked() <= given
