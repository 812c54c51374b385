"""Dividing a shard that kills its workers, without any worker: what is left, in which order, at what price."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.on_ray.assignments import ATTEMPTS, PARTS, Division, Join, Part
from pipeline.store.records import Done, Shard, ShardResult, Task
from pipeline.store.store import Store
from schemas import TABLES
from tests.pipeline.ray_stages import Eater, EaterParams

IMAGE = {"width": 1, "height": 1, "label": 0, "label_name": "a", "split": "train", "content_hash": "0"}


def reference(result: Any) -> Any:
    """In place of Ray's reference to a result: the result itself."""
    return result


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Tasks over shards of images, by their number."""
    store = Store(str(tmp_path_factory.mktemp("work") / "run"))
    made: dict[int, Task] = {}

    def task(images: int) -> Task:
        if images not in made:
            rows = [{**IMAGE, "image_id": f"{number:03d}", "uri": "u"} for number in range(images)]
            result = ShardResult({"images": TABLES["images"].from_rows(rows)})
            done: Done = store.commit("ingest", "r", f"{images}", result)
            made[images] = Task(Shard("k"), {"images": (done,)})
        return made[images]

    return SimpleNamespace(store=store, task=task)


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=5), st.randoms(use_true_random=False))
def test_exactly_the_killers_are_left_out_and_order_is_kept(tasks, images, killers, random):
    """Breaks when a part is lost, done twice or joined in the order in which parts happened to finish."""
    poison = {f"{number:03d}" for number in killers if number < images}
    division = Division(Eater("eater", EaterParams()), tasks.task(images), tasks.store, reference)
    work, deaths, tried = list(division.first()), 0, 0
    while not isinstance(work[0], Join):
        part = work.pop(random.randrange(len(work)))
        assert isinstance(part, Part)
        tried += 1
        if poison & set(part.image_ids):
            deaths += 1
            part.deaths += 1
            work += division.died(part)
        else:
            work += division.finished(part, reference(part.image_ids))
    (join,) = work
    assert isinstance(join, Join)
    kept: list[str] = []
    refused: list[str] = []
    results: list[Any] = list(join.parts)
    for result in results:
        if isinstance(result, ShardResult):
            refused += [row["image_id"] for row in result.quarantine]
        else:
            kept += result
    assert set(refused) == poison
    assert kept == [f"{number:03d}" for number in range(images) if f"{number:03d}" not in poison]
    levels = 2 * 3  # of 200 images, eight parts at a time; a batch gets a second try
    assert deaths <= len(poison) * (levels + ATTEMPTS)
    assert tried <= PARTS + deaths * PARTS


def test_a_part_that_comes_in_twice_counts_once(tasks):
    """Breaks when a part that was given out again, because its actor stalled, ends the division before the others."""
    division = Division(Eater("eater", EaterParams(batch_size=1)), tasks.task(8), tasks.store, reference)
    first, *others = [part for part in division.first() if isinstance(part, Part)]
    assert division.finished(first, reference("first")) == []
    assert division.finished(first, reference("again")) == []
    for part in others[:-1]:
        assert division.finished(part, reference("other")) == []
    (join,) = division.finished(others[-1], reference("last"))
    assert isinstance(join, Join)
    assert len(join.parts) == 8


def test_parts_hold_whole_batches(tasks):
    """Breaks when a shard whose workers were killed by chance gets other bits because its batches are cut anew."""
    division = Division(Eater("eater", EaterParams(batch_size=16)), tasks.task(200), tasks.store, reference)
    parts = [part for part in division.first() if isinstance(part, Part)]
    assert all(part.place % 16 == 0 for part in parts)
    assert [len(part.image_ids) for part in parts] == [32] * 6 + [8]
    (first, *_) = parts
    first.deaths = 1
    (again, other) = division.died(first)
    assert isinstance(again, Part)
    assert isinstance(other, Part)
    assert [len(again.image_ids), len(other.image_ids)] == [16, 16]
    again.deaths = 1
    assert division.died(again) == [again]
