import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.store.files import Files
from pipeline.worker.device import pick_device
from pipeline.worker.local_context import LocalContext

ROOT = Path(__file__).resolve().parents[3]


def place(uri, offset=None, length=None, row=None):
    return {"uri": uri, "offset": offset, "length": length, "row": row}


@pytest.fixture
def context(store):
    return LocalContext(store)


def test_bytes_of_files_ranges_and_other_file_systems(context, tmp_path):
    """Breaks when an image in an archive, or one behind a URI, is read as something else."""
    (tmp_path / "a").write_bytes(b"0123456789")
    assert context.read(str(tmp_path / "a")) == b"0123456789"
    assert context.read(f"file://{tmp_path}/a") == b"0123456789"
    assert context.read_image(place(str(tmp_path / "a"), 2, 3)) == b"234"
    Files("memory://context").put("b", b"abc")
    assert context.read("memory://context/b") == b"abc"
    assert context.read_image(place("memory://context/b", 1, 1)) == b"b"


def test_a_missing_file_is_an_error_not_a_bad_image(context, tmp_path):
    """Breaks when storage errors turn into quarantined images."""
    with pytest.raises(FileNotFoundError):
        context.read(str(tmp_path / "none"))


def test_a_file_that_is_too_large_for_an_image_is_not_read(context, tmp_path):
    """Breaks when a disk image that is called .jpg takes all memory of a worker."""
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(ValueError, match="larger than 1 GiB"):
        context.read(str(tmp_path / "a.jpg"))


def test_scratch_space_is_private_and_goes_with_the_context(store):
    """Breaks when two workers share scratch files, or they stay on the disk."""
    first, second = LocalContext(store), LocalContext(store)
    assert first.scratch != second.scratch
    assert first.scratch == first.scratch
    folder = first.scratch
    assert os.path.isdir(folder)
    del first
    assert not os.path.exists(folder)


def test_no_gpu_is_taken_unasked():
    """Breaks when a CPU pool's actors all land on one GPU."""
    assert pick_device(0) == "cpu"


def test_threads_reach_a_blas_that_is_loaded_already():
    """Breaks when products of NumPy take every core beside the other actors'."""
    program = (
        "import numpy; from pipeline.worker.device import set_threads; set_threads(1);"
        " import threadpoolctl; print({one['num_threads'] for one in threadpoolctl.threadpool_info()})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "{1}"


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep freed memory in ways of their own"
)
def test_freed_memory_is_not_paged_in_again():
    """Breaks when the system zeroes every page of every batch of feature maps: a fifth of a training."""
    program = (
        "import resource, numpy; from pipeline.worker.device import keep_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(5): numpy.ones(100_000_000, numpy.uint8)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "first = faults(); keep_freed_memory(); faults(); print(first > 100, 10 * faults() < first)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["True", "True"]
