"""Mathematics, vision and the in-process runner where Ray, pydantic and the cloud libraries are absent."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import sys
for name in ("ray", "pydantic", "s3fs", "boto3", "yaml", "click", "rich", "pycocotools", "sklearn", "scipy", "numba"):
    sys.modules[name] = None

import numpy as np
import pyarrow as pa
import torch

import pipeline.training.loop, pipeline.planning.plan, pipeline.upkeep.verify
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.contract.stage import Stage
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Shard, ShardResult, Task
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from schemas import TABLES
from stages.cam.cam import class_activation_maps
from stages.ddt.ddt import Descriptors, transform
from stages.psol.regressor import BoxRegressor, box_loss
from stages.vision.backbones.build import build
from stages.vision.batches import to_batch
from stages.vision.preprocessing import IMAGENET

torch.manual_seed(0)
generator = np.random.default_rng(0)
images = to_batch(list(generator.integers(0, 255, (4, 64, 64, 3), np.uint8)), IMAGENET)
network = build("smallnet", 3).eval()
with torch.inference_mode():
    features = network.features(images)
    maps = class_activation_maps(features, network.classifier.weight, torch.tensor([0, 1, 2, 0]))
assert maps.shape == features.shape[:1] + features.shape[2:]
descriptors = Descriptors()
descriptors.append(features)
assert transform(descriptors).maps.shape == maps.shape

regressor = BoxRegressor(network)
before = [p.detach().clone() for p in regressor.parameters()]
optimizer = torch.optim.SGD(regressor.parameters(), lr=0.1)
loss = box_loss(regressor(images)[0], torch.rand(4, 4))
loss.backward()
optimizer.step()
assert any(not torch.equal(a, b) for a, b in zip(before, regressor.parameters()))

class Maps(Stage):
    kind, version, outputs, Params = "maps", 1, ("training",), type(None)
    def plan(self, recipe, inputs):
        return [Shard("k")]
    def worker(self, context):
        row = {"epoch": 1, "loss": float(maps.mean()), "images": 4, "learning_rate": 0.1}
        return lambda task: ShardResult({"training": TABLES["training"].from_rows([row])})

store, done = Store(sys.argv[1]), []
InProcessRunner().run(Job(Maps("maps", None), "r", [Task(Shard("k"), {})], store, StageResources()), done.append)
assert store.table(done[0], "training").num_rows == 1
print("ran", *sorted(name for name in sys.modules if name.split(".")[0] in ("ray", "pydantic") and sys.modules[name]))
"""


def test_mathematics_and_in_process_runner_need_no_ray(tmp_path):
    """Breaks when a bare GPU machine (torch, torchvision, numpy, pyarrow, OpenCV) can no longer run the mathematics."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ran"]
