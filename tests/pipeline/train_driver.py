"""A driver that trains MortalMinmax on a Ray of its own, to be killed: `python -m tests.pipeline.train_driver DIR`."""

import logging
import sys
from pathlib import Path

import ray

from pipeline.on_ray.runner import RayRunner
from tests.pipeline.ray_stages import minmax_job

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    ray.init(
        address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )  # RAY_TMPDIR is the tests' own
    RayRunner().run(minmax_job(folder, folder / "notes", "hang"), lambda done: None)
    ray.shutdown()
