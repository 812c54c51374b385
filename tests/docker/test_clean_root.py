"""The install steps of the image in a clean Debian root: what a build does, where no container engine runs."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker import image
from tests.docker.image import REPOSITORY, pinned

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

DEBIAN = ("mmdebstrap", "debootstrap")
BASE = "python3,python3-venv,ca-certificates"
"""What the image's base has beside Debian itself."""


def registry() -> dict[str, str]:
    """Where packages come from: settings of pip, uv and TLS, and proxies, as this process has them."""
    named = {"SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
    return {name: value for name, value in os.environ.items() if re.match("PIP_|UV_", name) or name.upper() in named}


class Root:
    """A root file system, and commands in it that cannot leave a mount behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def copy(self, source: Path, target: str) -> None:
        """Copy a file or folder to where `target` says."""
        inside = self.path / target.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, inside, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, inside)

    def run(self, *command: str, folder: str, user: str = "0:0", **environment: str) -> str:
        """The output of a command that must succeed."""
        mounts = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$@"'
        inside = ["env", "-i", "-C", folder, *(f"{name}={value}" for name, value in environment.items()), *command]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounts, self.path, f"--userspec={user}", self.path, *inside],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}"
        return done.stdout

    def run_as_user(self, *command: str) -> str:
        """The output of a command of the image's user, in its folder, by a login shell."""
        user, home = image.arguments("USER")[0], image.arguments("WORKDIR")[-1]
        return self.run("bash", "-lc", shlex.join(command), folder=home, user=user, HOME=home)


@pytest.fixture(scope="module")
def root() -> Iterator[Root]:
    """Debian of the image's base, with weakbox installed by docker/install.sh. Takes about 7 GiB below /tmp."""
    tool = next(filter(None, map(shutil.which, DEBIAN)), None)
    if os.geteuid() != 0 or tool is None:
        pytest.skip(f"needs root and one of {', '.join(DEBIAN)}")
    if shutil.disk_usage("/tmp").free < 10 * 2**30:
        pytest.skip("needs 10 GiB below /tmp")
    suite = image.arguments("FROM")[0].split()[0].rsplit("-", 1)[1]
    folder = Path(tempfile.mkdtemp(prefix="wb-root-", dir="/tmp"))
    folder.chmod(0o755)  # apt downloads as a user of its own
    try:
        path = folder / "root"
        made = subprocess.run(
            [tool, "--variant=minbase", f"--include={BASE}", suite, path], capture_output=True, text=True
        )
        if made.returncode != 0:
            pytest.skip(f"{tool} cannot make a root here: {made.stderr[-500:]}")
        yield installed(Root(path))
    finally:
        shutil.rmtree(folder)


def installed(root: Root) -> Root:
    """Copy what the Dockerfile copies, and run its steps."""
    settings = registry()
    for file in {"/etc/resolv.conf", "/etc/hosts", *settings.values()}:
        if os.path.isfile(file):
            root.copy(Path(file), file)
    for path in image.copied():
        root.copy(REPOSITORY / path, f"/src/{'install.sh' if path.endswith('.sh') else path}")
    for text in image.arguments("RUN"):
        step = text.split("sh install.sh ")[1]
        root.run("sh", "install.sh", step, folder="/src", PATH="/usr/sbin:/usr/bin:/sbin:/bin", **settings)
    return root


def test_the_command_runs_as_the_user_of_the_image(root: Root) -> None:
    """Breaks when a system library, a data file of the package, the PATH or a right is missing in the image."""
    assert "Boxes and masks from class labels" in root.run_as_user("weakbox", "--help")
    assert pinned("ray") in root.run_as_user("ray", "--version")
    plan = root.run_as_user("weakbox", "plan", "jobs/configs/mini.yaml", "--set", "dataset.root=/data/mini")
    assert "to run" in plan


def test_everything_is_importable_in_its_pinned_version(root: Root) -> None:
    """Breaks when a shared library that a wheel expects is not in the base, or the constraints were not used."""
    code = (
        "import cv2, jobs.cli, numba, pycocotools.mask, ray.train.torch, simplejpeg, stages.catalog, torch, torchvision"
    )
    code += "; print(ray.__version__, torch.__version__, torch.ones(2).sum().item())"
    said = root.run_as_user("python", "-c", code).split()
    assert said[-3] == pinned("ray")
    assert said[-2].split("+")[0] == pinned("torch")
    assert said[-1] == "2.0"


def test_nothing_else_is_left(root: Root) -> None:
    """Breaks when a build tool, a cache or something that the user could change stays in the image."""
    left = ("opt/weakbox/bin/pip", "opt/weakbox/bin/uv", "root/.cache", "src/build", "src/weakbox.egg-info")
    assert [path for path in left if (root.path / path).exists()] == []
    assert [path for path in (root.path / "tmp").iterdir() if path.stat().st_uid == 0] == []
    writable = root.run_as_user("find", "/opt/weakbox", "/src", "-writable", "-not", "-type", "l")
    assert writable == ""
