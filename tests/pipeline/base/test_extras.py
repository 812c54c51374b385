"""Packages that not every installation has."""

import sys

import pytest

from pipeline.base.errors import UsageError
from pipeline.store.store import Store
from tests import runs


def test_a_storage_without_its_package_says_which_extra_brings_it(monkeypatch):
    """Breaks when a run root on cloud storage ends in a traceback where the package for it is missing."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(
        UsageError, match=r"^gs://bucket/run: the package gcsfs is not installed: pip install 'weakbox\[gcs\]'$"
    ):
        Store("gs://bucket/run")


def test_a_stage_without_its_package_is_refused_before_its_first_shard(run_copy, monkeypatch):
    """Breaks when a missing package is found out shard after shard, or in a traceback."""
    monkeypatch.setitem(sys.modules, "skimage", None)
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "cam": {},
        "masks": {"stage": "sgrm", "maps": "cam"},
    }
    with pytest.raises(
        UsageError, match=r"^stage masks: the package scikit-image is not installed: pip install 'weakbox\[lcar\]'$"
    ):
        runs.execute(runs.target_of(run_copy))
