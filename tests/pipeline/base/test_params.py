from dataclasses import dataclass

from pipeline.base.params import describe, input_names, input_tables, numeric, option, reads
from stages import catalog


@dataclass(frozen=True)
class Params:
    images: str = reads("images", "ingest", "the images")
    maps: tuple[str, ...] = reads("score_maps", ("cam",), "maps")
    thresholds: str | None = reads("thresholds", None, "thresholds")
    sign: str = option("energy", "sign rule")
    batch_size: int = option(32, "images at once", resource=True)


def test_only_numeric_parameters_are_hashed():
    """Breaks when an actor's batch size changes a recipe, or a parameter that changes results does not."""
    assert numeric(Params()) == {"sign": "energy"}


def test_inputs_are_named_by_slot():
    """Breaks when one stage, several stages and none are not all tuples of names."""
    assert input_names(Params()) == {"images": ("ingest",), "maps": ("cam",), "thresholds": ()}
    assert input_tables(Params) == {"images": "images", "maps": "score_maps", "thresholds": "thresholds"}


def test_every_parameter_of_every_stage_says_what_it_is():
    """Breaks when a parameter comes without help, or a stage without version and outputs."""
    for kind in catalog.kinds():
        stage = catalog.create(kind, "any", catalog.params_type(kind)())
        assert stage.version >= 1
        assert isinstance(stage.outputs, tuple)
        for parameter in describe(stage.Params):
            assert parameter.help.strip(), f"{kind}: {parameter.name}"
            assert parameter.name != "stage", "the config's own key"
