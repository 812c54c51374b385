"""Paths below a run root: what `RecipeFolder` builds, `parse` reads."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store import layout
from pipeline.store.layout import RecipeFolder, is_recipe, parse, row_list_key

STAGES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
IDS = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
ATTEMPTS = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)
FOLDERS = st.builds(RecipeFolder, STAGES, IDS)
BLOBS = st.sampled_from(["model.safetensors", "card.json", "gallery/1.png"])


class Built(NamedTuple):
    """A path that was built, and what it must be read as; key: of a file of a training, own: the folder of its own."""

    path: str
    area: str
    name: str = ""
    key: str | None = None
    own: str = ""


def of_results(folder: RecipeFolder, key: str, attempt: str, blob: str, number: int) -> list[Built]:
    """The files of a recipe that no training writes."""
    part, row_list = f"{key}-{attempt}.score_maps.parquet", f"{number:08d}-{key}.json"
    return [
        Built(folder.recipe_file, layout.RECIPE),
        Built(folder.listing, layout.LISTING),
        Built(folder.part(key, attempt, "score_maps"), layout.PARTS, part),
        Built(
            folder.blob(key, attempt, blob),
            layout.BLOBS,
            f"{key}-{attempt}",
            own=f"{folder.area(layout.BLOBS)}/{key}-{attempt}",
        ),
        Built(folder.manifest(key), layout.MANIFESTS, f"{key}.json", key),
        Built(folder.complete_set(key), layout.SETS, f"{key}.json"),
        Built(folder.row_list(number, key), layout.ROWS, row_list),
        Built(folder.progress(key), layout.PROGRESS, f"{key}.json", key),
    ]


def of_trainings(folder: RecipeFolder, key: str, attempt: str) -> list[Built]:
    """The files and folders of a training, which lie below folders named by its key."""
    training, curves = folder.training(key), folder.event_files(key)
    notes = f"{folder.area(layout.RAY_TRAIN)}/{key}-{attempt}"
    return [
        Built(training, layout.TRAININGS, key, key),
        Built(folder.checkpoint(key), layout.TRAININGS, key, key, training),
        Built(folder.begun(key), layout.TRAININGS, key, key, training),
        Built(folder.refused(key), layout.TRAININGS, key, key, training),
        Built(curves, layout.EVENT_FILES, key, key),
        Built(f"{curves}/events.out.tfevents.1", layout.EVENT_FILES, key, key, curves),
        Built(f"{notes}/worker/notes.json", layout.RAY_TRAIN, f"{key}-{attempt}", key, notes),
    ]


@given(folder=FOLDERS, key=IDS, attempt=ATTEMPTS, blob=BLOBS, number=st.integers(0, 10**8 - 1))
def test_every_path_of_a_recipe_is_read_as_what_it_was_built_for(folder, key, attempt, blob, number):
    """Breaks when a path is spelt in one way and read in another: gc would take a named file, or leave garbage."""
    for built in (*of_results(folder, key, attempt, blob, number), *of_trainings(folder, key, attempt)):
        place = parse(built.path)
        assert place is not None, built.path
        assert (place.folder, place.area, place.name, place.own_folder) == (folder, built.area, built.name, built.own)
        assert place.depth == built.path.count("/") + 1
        if built.key is not None:
            assert place.key == built.key


def test_no_path_that_recipes_build_is_left_out():
    """Breaks when `RecipeFolder` learns to build a path that the round trip above does not go through."""
    built = {name for name in vars(RecipeFolder) if not name.startswith("_")} - {"stage", "recipe"}
    assert built == {
        "path", "recipe_file", "listing", "area", "part", "blob", "manifest", "complete_set", "row_list",
        "training", "checkpoint", "begun", "refused", "progress", "event_files",
        "stop",
    }  # fmt: skip


@given(folder=FOLDERS, key=IDS, number=st.integers(0, 10**8 - 1))
def test_a_row_list_says_its_number_and_shard(folder, key, number):
    """Breaks when the rows of a data set's shards come back in another order, or under another key."""
    place = parse(folder.row_list(number, key))
    assert place is not None
    assert row_list_key(place.name) == (number, key)


@given(folder=FOLDERS, key=IDS, numbers=st.lists(st.integers(0, 10**8 - 1), min_size=2))
def test_row_lists_sort_as_they_were_planned(folder, key, numbers):
    """Breaks when a listing of the storage, which sorts names as text, gives the tenth shard before the second."""
    paths = sorted(folder.row_list(number, key) for number in numbers)
    assert paths == [folder.row_list(number, key) for number in sorted(numbers)]


@pytest.mark.parametrize(
    "path",
    [
        layout.MARKER,
        layout.CONFIG,
        layout.run_record("20261126T120000-0123456789abcdef"),
        layout.TIMELINE,
        layout.REPORT,
        layout.newest("stage"),
        "stage/notarecipe/x",
        "stage/0123456789abcdef",
        "stage/0123456789abcde/recipe.json",
        "stage/0123456789abcdef0/recipe.json",
        "stage/0123456789ABCDEF/recipe.json",
        "stage/0123456789abcdef\n/recipe.json",
        "data/train/parts/1.jpg",
        "data/images/0123456789abcdef/1.jpg",
        "",
    ],
)
def test_what_belongs_to_no_recipe_has_no_place(path):
    """Breaks when a file of the run itself, or of somebody's data inside the root, is taken for a recipe's."""
    assert parse(path) is None


@given(STAGES)
def test_no_stage_is_taken_for_a_recipe_by_its_pointer(stage):
    """Breaks when the pointer to a stage's newest set counts among its recipes."""
    assert not is_recipe(layout.newest(stage).rpartition("/")[2])
    assert parse(layout.newest(stage)) is None
