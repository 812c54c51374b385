import random
from dataclasses import dataclass, replace

import pytest

from pipeline.base.errors import UsageError
from pipeline.base.params import reads
from pipeline.base.suggestions import nearest
from pipeline.planning.graph import topological
from pipeline.planning.plan import make_plan
from pipeline.planning.walk import Walk
from tests.pipeline import fakes
from tests.pipeline.fakes import run, stages


def to_run(chosen, store) -> dict[str, tuple[int, str]]:
    """stage -> (shards to run, why), of the stages that are to run."""
    planned = make_plan(chosen, store)
    return {name: (len(stage.missing), stage.why) for name, stage in planned.items() if stage.missing}


def test_every_stage_comes_after_what_it_reads():
    """Breaks when a config whose stages stand in another order runs differently."""
    chosen = stages(each2={"kind": "each"}, total={"numbers": ("each", "each2")})
    for seed in range(10):
        names = list(chosen)
        random.Random(seed).shuffle(names)
        order = topological({name: chosen[name] for name in names})
        assert sorted(order) == sorted(names)
        for before, after in (("source", "each"), ("source", "each2"), ("each", "total"), ("each2", "total")):
            assert order.index(before) < order.index(after)


def test_the_configs_order_decides_where_inputs_do_not():
    """Breaks when independent stages change places from run to run."""
    chosen = stages(z={"kind": "each"}, a={"kind": "each"})
    assert topological(chosen) == ["source", "each", "total", "z", "a"]


def test_a_circle_is_named():
    """Breaks when stages that wait for each other hang or give a traceback."""
    with pytest.raises(UsageError, match=r"circle: .*(a -> b|b -> a)"):
        topological(stages(a={"kind": "each", "numbers": "b"}, b={"kind": "each", "numbers": "a"}))


def test_an_unknown_input_names_the_nearest():
    """Breaks when a misspelt stage name is not met with the one that was meant."""
    with pytest.raises(UsageError, match=r"stage each: numbers: there is no stage 'sorce'; did you mean 'source'\?"):
        topological(stages(each={"numbers": "sorce"}))


def test_an_input_of_the_wrong_kind_is_refused():
    """Breaks when a stage is fed a table that its upstream does not write."""
    wrong = fakes.Each("each", fakes.Each.Params())
    broken = type("Mute", (fakes.Source,), {"outputs": ()})("source", fakes.SourceParams())
    with pytest.raises(UsageError, match=r"stage each: numbers: stage 'source' \(source\) gives no training"):
        topological({"source": broken, "each": wrong})


def test_nearest_is_silent_where_nothing_is_near():
    """Breaks when any two words count as alike."""
    assert nearest("epoch", ["epochs", "seed"]) == "; did you mean 'epochs'?"
    assert nearest("zzz", ["epochs", "seed"]) == ""


def test_a_fresh_root_runs_everything_and_a_finished_one_nothing(store):
    """Breaks when a finished run plans work, or planning itself leaves something in the root."""
    assert to_run(stages(), store) == {
        "source": (3, "never completed"), "each": (3, "never completed"), "total": (1, "never completed"),
    }  # fmt: skip
    assert store.files.names("") == []
    run(store, stages())
    assert to_run(stages(), store) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"each": {"factor": 3.0}}, {"each": (3, "factor: 2.0 -> 3.0"), "total": (1, "input numbers changed (each)")}),
        ({"total": {"note": "x"}}, {"total": (1, "note: '' -> 'x'")}),
        ({"source": {"size": 4}}, {}),
        (
            {"source": {"flavour": "salty"}},
            {
                "source": (3, "flavour: 'plain' -> 'salty'"),
                "each": (3, "input numbers changed (source)"),
                "total": (1, "input numbers changed (each)"),
            },
        ),
    ],
)
def test_a_changed_parameter_runs_its_stage_and_what_hangs_below(store, change, expected):
    """Breaks when plan runs more or less than that, or does not name the parameter."""
    run(store, stages())
    assert to_run(stages(**change), store) == expected


def test_a_code_version_is_named(store, monkeypatch):
    """Breaks when new code under an old version number is the only way to notice a change."""
    run(store, stages())
    monkeypatch.setattr(fakes.Each, "version", 2)
    found = to_run(stages(), store)
    assert found["each"] == (3, "code version 1 -> 2")
    assert set(found) == {"each", "total"}


def test_another_ingredient_is_named(store, monkeypatch):
    """Breaks when a changed weights file changes the recipe without saying so."""
    run(store, stages())
    monkeypatch.setattr(fakes.Total, "ingredients", lambda self: {"weather": "rain"})
    assert to_run(stages(), store) == {"total": (1, "weather changed")}


def test_another_input_is_named(store):
    """Breaks when swapping the stage that is read goes unexplained."""
    more = {"each2": {"kind": "each", "factor": 9.0}}
    run(store, stages(**more))
    assert to_run(stages(**more, total={"numbers": ("each2",)}), store) == {
        "total": (1, "input numbers changed (each2)")
    }


def test_growth_runs_new_shards_and_whole_table_consumers(store):
    """Breaks when adding rows runs an old shard again, or leaves the total as it was."""
    run(store, stages(source={"rows": 8}))
    assert to_run(stages(source={"rows": 10}), store) == {
        "source": (1, "the data set changed (1 of 3 shards)"),
        "each": (1, "input numbers changed (1 of 3 shards)"),
        "total": (1, "input numbers changed"),
    }


def test_recipes_do_not_depend_on_the_place(tmp_path):
    """Breaks when a run root's path or the order of stages enters a recipe: runs could not be compared."""
    from pipeline.store.store import Store

    first = make_plan(stages(), Store(str(tmp_path / "a")))
    second = make_plan(dict(reversed(stages().items())), Store("memory://b"))
    for name, planned in first.items():
        assert (planned.recipe.id, planned.keys) == (second[name].recipe.id, second[name].keys)


def test_resource_parameters_are_in_no_recipe(store):
    """Breaks when a batch size or shard size that does not change results makes a new recipe."""
    stage = stages()["source"]
    other = type(stage)("source", replace(stage.params, size=5))
    recipes = [make_plan({"source": each}, store)["source"].recipe.id for each in (stage, other)]
    assert recipes[0] == recipes[1]


@dataclass(frozen=True)
class MoreParams(fakes.EachParams):
    more: tuple[str, ...] = reads("training", (), "further numbers")


def test_an_input_that_is_not_read_is_not_in_the_recipe():
    """Breaks when a stage that learns to read one thing more computes all its finished results again."""
    source, walk = stages()["source"], Walk()
    walk.step(source, walk.recipe(source), [])
    without = walk.recipe(fakes.Each("each", fakes.EachParams()))
    assert walk.recipe(fakes.Each("each", MoreParams())).id == without.id
    assert walk.recipe(fakes.Each("each", MoreParams(more=("source",)))).id != without.id
