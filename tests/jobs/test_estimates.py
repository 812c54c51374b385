"""About how long a run will take, by hand."""

import pytest

from jobs import estimates
from jobs.inspection import planned_stages
from tests import runs


def found(config):
    target = runs.target_of(config)
    return estimates.estimates(planned_stages(target), target.store, target.config.resources.resources())


def changed(config, **stages):
    """The config with other parameters of some stages."""
    return {**config, "stages": {**config["stages"], **stages}}


def test_a_finished_run_takes_no_time(run_copy):
    """Breaks when what is done is counted again."""
    assert found(run_copy) == {}


def test_what_ran_here_before_tells_how_long_it_takes(run_copy, finished_run):
    """Breaks when an estimate is of other rows than those to run, or a rate that was measured here is not used."""
    again = found(changed(run_copy, cam={"negative_weights": False}))
    took = sum(done.seconds for done in runs.dones(finished_run, "cam"))
    assert again["cam"].measured
    assert again["cam"].worker_seconds == pytest.approx(took)
    assert "ddt" not in again
    retrained = found(changed(run_copy, psol={"labels": "boxes_cam", "epochs": 1, "batch_size": 8}))
    (training,) = runs.dones(finished_run, "psol")
    assert retrained["psol"].worker_seconds == training.seconds


def test_a_new_root_is_told_by_shipped_rates(run_copy, tmp_path):
    """Breaks when a first run has no estimate, or its rates pass for measured ones."""
    new = found({**run_copy, "run_root": str(tmp_path / "new")})
    images = runs.TRAIN + runs.TEST
    assert not any(each.measured for each in new.values())
    assert new["cam"].worker_seconds == pytest.approx(images * estimates.SHIPPED["cam"])
    assert new["ingest"].worker_seconds == pytest.approx(images * estimates.SHIPPED["ingest"])
    train = sum(row["split"] == "train" for row in runs.rows(runs.target_of(run_copy), "ingest", "images"))
    assert new["psol"].worker_seconds == pytest.approx(train * estimates.STEP)


def test_the_line_names_workers_gpus_and_where_the_rates_are_from():
    """Breaks when GPU hours are those of processors, or shipped rates are not called so."""
    here, shipped = (estimates.Estimate(7200.0, measured, workers=4, gpus=0.5) for measured in (True, False))
    line = estimates.said({"cam": here})
    assert line == "about 2.0 h of workers, 30 min one stage after another, 60 min of GPUs; rates measured in this root"
    assert "shipped rates for 1 of 2 stages" in estimates.said({"cam": here, "ddt": shipped})
    assert estimates.short(shipped) == "2.0 h (shipped rate)"
    assert estimates.short(None) == ""
