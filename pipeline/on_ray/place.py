"""What one worker takes of a cluster, in Ray's words."""

from typing import Any

from pipeline.contract.resources import StageResources


def place(resources: StageResources) -> dict[str, Any]:
    """The place of one worker, as options of an actor or a task."""
    return {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "memory": resources.memory,
        "resources": dict(resources.custom) or None,
        "label_selector": dict(resources.labels) or None,
    }
