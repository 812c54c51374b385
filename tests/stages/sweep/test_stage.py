import numpy as np

from schemas import TABLES
from stages.bases.halves import half_of
from stages.scoring.arrow_tables import tallies_of
from stages.scoring.ragged import from_lists
from stages.scoring.tally import FIXED, fixed_tallies, merge
from stages.vision.box_rule import BoxRule
from tests import runs


def test_the_box_rule_is_counted_by_halves_of_every_split(finished_run):
    """Breaks when an image is counted in no half, in both, or in that of another; or test cannot choose a threshold."""
    maps = {row["image_id"]: row for row in runs.rows(finished_run, "cam", "score_maps")}
    tables = [finished_run.store.table(done, "counts") for done in runs.dones(finished_run, "sweep_cam")]
    rows = [row for table in tables for row in table.to_pylist()]
    assert {row["half"] for row in rows if row["rule"] != FIXED} == {None}
    for split in ("dev", "test"):
        images = runs.images(finished_run, split)
        for half in (0, 1):
            own = [image_id for image_id in images if half_of(image_id) == half]
            boxes = [[tuple(box[s] for s in ("x0", "y0", "x1", "y1")) for box in images[i]["gt_boxes"]] for i in own]
            sizes = np.array([[images[i]["width"], images[i]["height"]] for i in own], float)
            arrays = [np.reshape(maps[i]["map"], (maps[i]["height"], -1)).astype(np.float16) for i in own]
            wanted = merge(fixed_tallies(arrays, from_lists(boxes), sizes, BoxRule()))
            table = [row for row in rows if (row["split"], row["half"]) == (split, half)]
            found = merge(tallies_of(TABLES["counts"].from_rows(table)))
            assert found.keys() == wanted.keys()
            for key, tally in wanted.items():
                assert (found[key].images, found[key].counts.tolist()) == (len(own), tally.counts.tolist())
