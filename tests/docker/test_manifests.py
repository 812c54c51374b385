"""The image and the manifests that start clusters of it: what can be known about them without an engine."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from jobs.local_ray import TUNED
from pipeline.config.run_config import ResourcesConfig
from tests.docker import image
from tests.docker.image import FOLDER, REPOSITORY, pinned

WORKERS = {name: value for name, value in TUNED.items() if re.match(r"MALLOC_|OMP_|GOMP_", name)}
"""What the workers of a cluster must find in their environment."""
DRAIN, STOP = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "RAY_JOB_STOP_WAIT_TIME_S"


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


def env_of(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def seconds(text: str) -> int:
    assert text.endswith("s"), text
    return int(text.removesuffix("s"))


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The cluster of raycluster.yaml."""
    return load("kuberay/raycluster.yaml")["spec"]


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """The run of rayjob.yaml."""
    return load("kuberay/rayjob.yaml")["spec"]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of compose.yaml."""
    return load("compose.yaml")["services"]


@pytest.fixture(scope="module")
def pods(cluster: dict[str, Any], job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every Pod of the manifests by a name for it."""
    found = {"submitter": job["submitterPodTemplate"]["spec"]}
    for owner, spec in (("cluster", cluster), ("job", job["rayClusterSpec"])):
        found[f"{owner} head"] = spec["headGroupSpec"]["template"]["spec"]
        for group in spec["workerGroupSpecs"]:
            found[f"{owner} {group['groupName']}"] = group["template"]["spec"]
    return found


def ray_pods(pods: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, Pod and container of every Pod that is a node of Ray."""
    for name, pod in pods.items():
        if name != "submitter":
            yield name, pod, pod["containers"][0]


def without_sizes(spec: dict[str, Any]) -> dict[str, Any]:
    sizes = ("replicas", "minReplicas", "maxReplicas")
    groups = [{key: value for key, value in group.items() if key not in sizes} for group in spec["workerGroupSpecs"]]
    return {**spec, "workerGroupSpecs": groups}


# --- the image


def test_every_base_is_a_pinned_tag() -> None:
    """Breaks when a base has no tag, a moving one, or is a stage that does not exist."""
    stages = {text.split()[2] for text in image.arguments("FROM") if " AS " in text}
    bases = {text.split()[0] for text in image.arguments("FROM")} - stages
    assert dict(text.split("=") for text in image.arguments("ARG"))["DEVICE"] in stages == {"cpu", "gpu"}
    assert bases - {"${DEVICE}"}
    for base in bases - {"${DEVICE}"}:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[a-z0-9.-]*", base), base


def test_the_user_is_not_root_and_comes_last() -> None:
    """Breaks when a step after USER, or another USER, makes containers run as root, or Kubernetes cannot tell."""
    users = image.arguments("USER")
    assert [re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) is not None for user in users] == [True]
    assert image.instructions()[-1][0] == "USER"
    assert f"--uid {users[0].split(':')[0]} " in (FOLDER / "install.sh").read_text()


def test_the_image_sets_what_a_local_ray_sets() -> None:
    """Breaks when jobs.local_ray changes a setting of workers and the nodes of a cluster keep the old one."""
    shared = {name: value for name, value in image.environment().items() if name in TUNED}
    assert shared.keys() >= {*WORKERS}
    assert shared == {name: TUNED[name] for name in shared}


def test_a_node_without_a_token_does_not_start_open() -> None:
    """Breaks when a head of the image, started with no settings, lets everybody run code on it."""
    assert image.environment()["RAY_AUTH_MODE"] == "token"


def test_the_gpu_image_asks_for_a_driver_of_torchs_cuda() -> None:
    """Breaks when torch's CUDA libraries rise to a new major version and the image still accepts older drivers."""
    major = pinned("cuda-toolkit").split(".")[0]
    assert image.environment()["NVIDIA_REQUIRE_CUDA"] == f"cuda>={major}.0"


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    """Breaks when a package or file is renamed, or the ignore file keeps from the builder what COPY reads."""
    sent = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert [path for path in image.copied() if not (REPOSITORY / path).exists()] == []
    assert sent == set(image.copied())
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert {"jobs", "pipeline", "schemas", "stages", "weakbox"} & packages <= sent


def test_dependencies_are_a_layer_before_the_source() -> None:
    """Breaks when a change of the source makes the builder install the dependencies again."""
    steps = [text for name, text in image.instructions() if name in ("COPY", "RUN")]
    first = next(number for number, step in enumerate(steps) if step.endswith("install.sh dependencies"))
    before = [path for step in steps[:first] for path in step.split()[:-1]]
    assert set(before) == {"docker/install.sh", "pyproject.toml", "constraints.txt"}


def test_the_install_script_is_sound_posix_shell() -> None:
    """Breaks on a syntax error, or when a failing step would not end the build."""
    script = FOLDER / "install.sh"
    shell = shutil.which("dash") or shutil.which("sh")
    assert shell
    subprocess.run([shell, "-n", str(script)], check=True)
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -eu\n" in text


def test_no_registry_stands_in_a_file() -> None:
    """Breaks when a package index or an image registry, which every site has its own of, is written down."""
    address = re.compile(r"https?://(?!minio:|127\.0\.0\.1:)|--(extra-)?index-url|(FROM|image:) [^\s/]+\.[^\s/]+/")
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert [(path.name, found.group()) for path in files for found in address.finditer(path.read_text())] == []


# --- KubeRay


def test_versions_are_the_ray_of_the_constraints(cluster: dict[str, Any], job: dict[str, Any]) -> None:
    """Breaks when Ray is upgraded and a manifest still names the old version, or an image that holds it."""
    ray = pinned("ray")
    assert {cluster["rayVersion"], job["rayClusterSpec"]["rayVersion"]} == {ray}
    texts = [path.read_text() for path in FOLDER.rglob("*") if path.is_file()]
    assert set(re.findall(r"weakbox:(\S+)", "".join(texts))) == {f"ray-{ray}-cpu", f"ray-{ray}-gpu"}


def test_both_manifests_describe_one_cluster(cluster: dict[str, Any], job: dict[str, Any]) -> None:
    """Breaks when one is mended and the other is forgotten; only the number of workers may differ."""
    assert without_sizes(cluster) == without_sizes(job["rayClusterSpec"])


def test_every_container_says_what_it_takes(pods: dict[str, dict[str, Any]], cluster: dict[str, Any]) -> None:
    """Breaks when a container may take a node's memory away from its neighbours, or no node can be chosen for it."""
    containers = [container for pod in pods.values() for container in pod["containers"]]
    for taker in (*containers, cluster["autoscalerOptions"]):
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= taker["resources"][kind].keys()


def test_authentication_is_explicit_and_on(pods: dict[str, dict[str, Any]], cluster: dict[str, Any]) -> None:
    """Breaks when a release's default decides whether whoever reaches a head may run code on the cluster."""
    assert cluster["authOptions"] == {"mode": "token"}
    assert {env_of(pod["containers"][0])["RAY_AUTH_MODE"] for pod in pods.values()} == {"token"}


def test_nodes_have_the_allocator_settings(pods: dict[str, dict[str, Any]]) -> None:
    """Breaks when workers give freed memory back to the kernel: half of a forward pass is then page faults."""
    for name, _, container in ray_pods(pods):
        assert env_of(container).items() >= WORKERS.items(), name


def test_no_pod_runs_as_root(pods: dict[str, dict[str, Any]]) -> None:
    """Breaks when a Pod's user is not the image's."""
    user = int(image.arguments("USER")[0].split(":")[0])
    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == user


def test_groups_scale_and_only_one_takes_gpus(cluster: dict[str, Any], job: dict[str, Any]) -> None:
    """Breaks when the autoscaler is off, has no room, or the head or a CPU worker holds a GPU."""
    for spec in (cluster, job["rayClusterSpec"]):
        assert spec["enableInTreeAutoscaling"] is True
        groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
        assert groups.keys() == {"cpu", "gpu"}
        for group in groups.values():
            assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
            assert group["minReplicas"] < group["maxReplicas"]
        templates = {name: group["template"] for name, group in groups.items()}
        for name, template in {**templates, "head": spec["headGroupSpec"]["template"]}.items():
            container = template["spec"]["containers"][0]
            asked = {kind: container["resources"][kind].get("nvidia.com/gpu") for kind in ("requests", "limits")}
            assert set(asked.values()) == ({"1"} if name == "gpu" else {None}), name
            assert container["image"].endswith("-gpu" if name == "gpu" else "-cpu"), name


def test_retries_are_counted(job: dict[str, Any]) -> None:
    """Breaks when a default decides how often a failed run pays for a new cluster, or a lost submitter ends it."""
    assert job["backoffLimit"] in (0, 1)
    assert job["submitterConfig"]["backoffLimit"] >= 1
    assert job["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"


def test_the_cluster_of_a_job_goes_away(job: dict[str, Any]) -> None:
    """Breaks when GPUs stay behind, and are paid for, after a run."""
    rules = job["deletionStrategy"]["deletionRules"]
    assert {rule["policy"] for rule in rules} == {"DeleteCluster"}
    ends = [{name: end for name, end in rule["condition"].items() if name != "ttlSeconds"} for rule in rules]
    assert ends == [{"jobStatus": "SUCCEEDED"}, {"jobStatus": "FAILED"}, {"jobDeploymentStatus": "Failed"}]
    assert all(0 < rule["condition"]["ttlSeconds"] <= 3600 for rule in rules)
    assert not {"shutdownAfterJobFinishes", "ttlSecondsAfterFinished"} & set(job)  # KubeRay refuses them beside rules


def test_a_job_that_hangs_is_ended(job: dict[str, Any]) -> None:
    """Breaks when a run that waits for ever keeps its GPUs for ever."""
    assert 24 * 3600 <= job["activeDeadlineSeconds"] <= 7 * 24 * 3600


def test_graces_fit_into_each_other(pods: dict[str, dict[str, Any]], services: dict[str, Any]) -> None:
    """Breaks when a node or a job is killed before the shards that run after SIGTERM have had their time."""
    grace = ResourcesConfig().grace
    drain, stop = (int(image.environment()[name]) for name in (DRAIN, STOP))
    ray_stop = 16  # seconds that Ray gives its own processes
    assert grace <= drain
    assert grace + ray_stop <= stop
    for name, pod, _ in ray_pods(pods):
        assert drain + ray_stop <= pod["terminationGracePeriodSeconds"], name
    for name in ("head", "worker"):
        assert drain + ray_stop <= seconds(services[name]["stop_grace_period"]), name


# --- Compose


def test_compose_is_a_head_two_workers_and_an_object_store(services: dict[str, Any]) -> None:
    """Breaks when a service is missing, unpinned, starts before what it needs, or is not known to be well."""
    assert services.keys() == {"minio", "bucket", "head", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert re.fullmatch(r"minio/minio:RELEASE\.[0-9TZ-]+", services["minio"]["image"])
    assert all(services[name]["healthcheck"]["test"] for name in ("minio", "head", "worker"))
    assert services["bucket"]["depends_on"] == {"minio": {"condition": "service_healthy"}}
    assert services["head"]["depends_on"] == {"bucket": {"condition": "service_completed_successfully"}}
    assert services["worker"]["depends_on"] == {"head": {"condition": "service_healthy"}}
    assert all(service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"} for service in services.values())


def test_compose_authenticates_and_is_not_open_to_the_network(services: dict[str, Any]) -> None:
    """Breaks when a node lacks the mode or the token, or a port is published beyond this machine."""
    for name in ("bucket", "head", "worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token", name
        assert "RAY_AUTH_TOKEN" in services[name]["environment"], name
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_holds_no_secret(services: dict[str, Any]) -> None:
    """Breaks when a credential stands in the file, even as a default: it must come from the caller's environment."""
    secret = re.compile(r"TOKEN|PASSWORD|SECRET|ACCESS_KEY|_USER$")
    found = [
        (name, variable, value)
        for name, service in services.items()
        for variable, value in service["environment"].items()
        if secret.search(variable) and not re.fullmatch(r"\$\{\w+:\?\}", value)
    ]
    assert found == []
