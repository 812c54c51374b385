import os
import re
from typing import Any

import pytest

from pipeline.base.errors import UsageError
from pipeline.config.run_config import RunConfig, load_config, parse_config
from pipeline.contract.stage import Stage
from pipeline.planning.walk import check_inputs
from stages import catalog
from stages.arm.options import ArmStageParams

CONFIG: dict[str, Any] = {
    "run_root": "runs/x",
    "dataset": {"reader": "folder", "root": "data"},
    "stages": {"classify": {"epochs": 3}, "cam": {}, "maps2": {"stage": "cam", "input_size": 32}},
    "resources": {"actors": 2, "train": {"actors": 1}, "stages": {"cam": {"gpus": 1}}},
}


def stages_of(*changes: str, data: dict[str, Any] = CONFIG) -> dict[str, Stage[Any]]:
    return stages_in(parse_config(data, changes))


def stages_in(config: RunConfig) -> dict[str, Stage[Any]]:
    """Its stages, whichever parameters they have."""
    return dict(config.stage_objects(catalog))


def test_a_config_becomes_stages():
    """Breaks when a stage loses its name, its kind, its parameters or its resources."""
    config = parse_config(CONFIG)
    stages = stages_in(config)
    assert {name: stage.kind for name, stage in stages.items()} == {
        "ingest": "ingest.folder", "truth": "truth", "duplicates": "duplicates", "classify": "classify", "cam": "cam",
        "maps2": "cam",
    }  # fmt: skip
    assert stages["classify"].params.epochs == 3
    assert stages["maps2"].params.input_size == 32
    resources = config.resources.resources()
    assert resources.of("cam", train=False, light=False).gpus == 1
    assert resources.of("maps2", train=False, light=False).actors == 2
    assert resources.of("classify", train=True, light=False).actors == 1
    assert config.run_root == os.path.abspath("runs/x")


def test_the_micro_batch_is_a_resource_of_trainings():
    """Breaks when the setting is lost, holds for other pools, or a micro batch of no image is taken."""
    resources = parse_config(CONFIG, ["resources.train.micro_batch=16"]).resources.resources()
    assert resources.of("classify", train=True, light=False).micro_batch == 16
    assert resources.of("maps2", train=False, light=False).micro_batch is None
    with pytest.raises(UsageError, match="resources.train.micro_batch: .* greater than or equal to 1"):
        parse_config(CONFIG, ["resources.train.micro_batch=0"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("run_rot=x", "unknown key 'run_rot'; did you mean 'run_root'"),
        ("resources.actor=1", "unknown key 'resources.actor'; did you mean 'actors'"),
        ("resources.train.gpu=1", "unknown key 'resources.train.gpu'; did you mean 'gpus'"),
        ("resources.stages.cam.cpu=1", "unknown key 'resources.stages.cam.cpu'; did you mean 'cpus'"),
        ("resources.stages.kam.cpus=1", "resources: stages: there is no stage 'kam'; did you mean 'cam'"),
        ("dataset.rot=x", "dataset: unknown key 'rot'; did you mean 'root'"),
        ("dataset.stage=cam", "dataset: unknown key 'stage'"),
        ("dataset.reader=foldr", "dataset: unknown reader 'foldr'; did you mean 'folder'.*tiny_imagenet"),
        ("stages.classify.epoch=1", "stage classify: unknown key 'epoch'; did you mean 'epochs'"),
        ("stages.kam={}", "stage kam: unknown kind 'kam'; did you mean 'cam'"),
        ("stages.x.stage=bxes", "stage x: unknown kind 'bxes'; did you mean 'boxes'"),
        ("stages.x.stage=7", "stage x: unknown kind 7"),
        ("stages.ingest={}", "'ingest' is reserved"),
        ("stages.Cam={}", "'Cam' is no name"),
        ("stages.a/b={}", "'a/b' is no name"),
        ("dataset.reader=null", "dataset: reader is missing"),
    ],
)
def test_an_unknown_key_at_every_level_names_the_nearest(change, words):
    """Breaks when a misspelt key is ignored: the run would silently use the default."""
    with pytest.raises(UsageError, match=words):
        stages_of(change)


def test_a_misspelt_key_is_named_before_the_one_that_is_missing():
    """Breaks when `runroot` gives "run_root: Field required", which sends people to look for a line that they wrote."""
    with pytest.raises(UsageError, match="unknown key 'runroot'; did you mean 'run_root'"):
        parse_config({"runroot": "x", "dataset": {"reader": "folder", "root": "y"}})


@pytest.mark.parametrize(
    "change",
    [
        "stages.classify.epochs=ten",
        "stages.classify.epochs=1.5",
        "stages.classify.epochs=[1]",
        "stages.classify.flip=maybe",
        "stages.classify.learning_rate=fast",
        "stages.cam=7",
        "stages=[cam]",
        "dataset=folder",
        "resources.actors=0",
        "resources.cpus=-1",
        "max_quarantined=2",
        "run_root=''",
        "run_root=7",
        "stages.x={stage: evaluate, counts: sweep}",
    ],
)
def test_a_wrong_type_is_one_line_that_names_the_key(change):
    """Breaks when a wrong value is bent into shape, or shown with a library's own traceback."""
    with pytest.raises(UsageError) as caught:
        stages_of(change)
    key = change.split("=", 1)[0].split(".")[-1]
    assert "\n" not in str(caught.value)
    assert key in str(caught.value) or "counts" in str(caught.value)


@pytest.mark.parametrize(
    "key", ["stages.classify.epochs", "stages.classify.learning_rate", "resources.cpus", "max_quarantined"]
)
@pytest.mark.parametrize(
    ("value", "shown"), [("true", "True"), ("'0.3'", "'0.3'"), ("yes", "True"), ("[1]", ""), ("{a: 1}", "")]
)
def test_what_is_no_number_stays_none(key, value, shown):
    """Breaks when true counts as 1 or a quoted text as its number: a slip in a config would change results."""
    with pytest.raises(UsageError, match=key.split(".")[-1]) as caught:
        stages_of(f"{key}={value}")
    assert str(caught.value).endswith(f"not {shown}" if shown else "")


def test_numbers_as_yaml_reads_them():
    """Breaks when 1e-3, which YAML takes for text, is no learning rate; 1 and 1.0 are the same recipe."""
    assert stages_of("stages.classify.learning_rate=1e-3")["classify"].params.learning_rate == 0.001
    assert repr(stages_of("stages.classify.learning_rate=1")["classify"].params.learning_rate) == "1.0"


def test_set_changes_nested_keys_and_makes_missing_ones():
    """Breaks when --set loses its neighbours, parses values as anything but YAML, or stops at an equals sign."""
    changes = ["dataset.root=s3://b/a=b", "stages.ddt.sign=skew", "stages.boxes.threshold=0.25", "resources=null"]
    with pytest.raises(UsageError, match="resources"):
        parse_config(CONFIG, changes)
    stages = stages_of(*changes[:3])
    assert stages["ingest"].params.root == "s3://b/a=b"
    assert stages["ddt"].params.sign == "skew"
    assert stages["boxes"].params.threshold == 0.25
    assert stages["classify"].params.epochs == 3
    assert CONFIG["dataset"] == {"reader": "folder", "root": "data"}, "the config itself is left as it was"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("epochs", "expected a.b=value"),
        ("=1", "expected a.b=value"),
        ("stages.cam.x=[", "no YAML"),
        ("run_root.x=1", "run_root is no mapping"),
    ],
)
def test_a_bad_set_is_one_line(change, words):
    """Breaks when a bad --set gives a traceback or is ignored."""
    with pytest.raises(UsageError, match=words) as caught:
        parse_config(CONFIG, [change])
    assert "--set" in str(caught.value)


def test_variables_of_the_environment(monkeypatch):
    """Breaks when ${NAME} or its default is not replaced, or a missing variable becomes an empty path."""
    monkeypatch.setenv("WB_DATA", "/data")
    monkeypatch.delenv("WB_NONE", raising=False)
    data = {**CONFIG, "dataset": {"reader": "folder", "root": "${WB_DATA}/a/${WB_NONE:-b}"}}
    assert stages_of(data=data)["ingest"].params.root == "/data/a/b"
    monkeypatch.setenv("WB_NONE", "")
    assert stages_of(data=data)["ingest"].params.root == "/data/a/b"
    monkeypatch.delenv("WB_NONE")
    with pytest.raises(UsageError, match="no variable WB_NONE"):
        parse_config({**CONFIG, "run_root": "${WB_NONE}"})


@pytest.mark.parametrize(
    ("text", "words"),
    [("run_root: [", "no YAML"), ("- a\n- b\n", "a mapping"), ("", "a mapping"), ("dataset: {}\n", "run_root")],
)
def test_a_bad_file_is_one_line(tmp_path, text, words):
    """Breaks when bad YAML, another kind of document, or a missing key gives a traceback."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        load_config(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    """Breaks when a missing config gives a traceback."""
    with pytest.raises(UsageError, match="No such file"):
        load_config(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("stages.classify.backbone=resnet", "unknown backbone .resnet.: did you mean .resnet50."),
        ("stages.classify.precision=float16", "precision must be one of"),
        ("stages.classify.refit=always", "refit must be one of"),
        ("stages.b={stage: boxes, threshold: 0.5, thresholds: cam}", "either threshold"),
        ("stages.b={stage: boxes}", "either threshold"),
        ("stages.b={stage: boxes, threshold: 0.5, frame: picture}", "frame must be one of"),
        ("stages.l={stage: localize, splits: [tset]}", "splits must be one of .*not 'tset'"),
        ("stages.e={stage: evaluate, splits: [tset]}", "splits must be one of .*not 'tset'"),
        ("stages.p={stage: psol, pooling: 0}", "pooling must be at least 1"),
        ("stages.p={stage: psol, clip_norm: .nan}", "clip_norm: nan is no number"),
        ("stages.n={stage: ncut, input_size: 0}", "input_size must be at least 1"),
        ("stages.p={stage: psol, schedule: linear}", "schedule must be one of"),
        ("dataset.dev_fraction=1.5", "dev_fraction"),
    ],
)
def test_values_outside_their_choices_are_refused_before_anything_runs(change, words):
    """Breaks when a bad choice is only found hours into a run."""
    with pytest.raises(UsageError, match=words):
        stages_of(change)


def refined(**entries: dict[str, Any] | None) -> dict[str, Stage[Any]]:
    """The stages of a config whose other stages are these."""
    return stages_of(data={**CONFIG, "stages": entries, "resources": {}})


def test_refine_is_written_out_as_stages():
    """Breaks when a refinement reads other maps than those before it, loses its parameters, or comes out of order."""
    steps = ["arm", {"sgrm": {"iterations": 50, "preset": "ilsvrc"}}, {"scg": None}]
    stages = refined(ddt={}, cam={"refine": steps, "input_size": 32}, boxes={"maps": "cam_arm_sgrm", "threshold": 0.5})
    refinements = ["cam_arm", "cam_arm_sgrm", "cam_arm_sgrm_scg"]
    assert list(stages) == ["ingest", "truth", "duplicates", "ddt", "cam", *refinements, "boxes"]
    assert [stages[name].kind for name in refinements] == ["arm", "sgrm", "scg"]
    assert [stages[name].params.maps for name in refinements] == ["cam", "cam_arm", "cam_arm_sgrm"]
    assert stages["cam"].params.input_size == 32
    assert (stages["cam_arm_sgrm"].params.iterations, stages["cam_arm_sgrm"].params.preset) == (50, "ilsvrc")
    assert stages["cam_arm"].params == ArmStageParams(maps="cam")


def test_refine_equals_the_stages_that_it_stands_for():
    """Breaks when the short form has another recipe than the long one: neither would find the other's results."""
    short = refined(cam={"refine": [{"arm": {"eta": 0.2}}]})
    long = refined(cam={}, cam_arm={"stage": "arm", "maps": "cam", "eta": 0.2})
    assert {name: stage.params for name, stage in short.items()} == {n: stage.params for n, stage in long.items()}


def test_refinements_read_the_images_and_the_network_of_the_stage_they_refine():
    """Breaks when SCG correlates features of a network that the maps are not of, or a given input is overridden."""
    stages = refined(
        spa={},
        classify={},
        maps={"stage": "cam", "model": "spa", "refine": ["arm", "scg", {"scg": {"model": "classify"}}]},
    )
    assert stages["maps_arm_scg"].params.model == "spa"
    assert stages["maps_arm_scg_scg"].params.model == "classify"
    assert stages["maps_arm_scg_scg"].params.images == "ingest"


def test_refined_stages_have_resources_of_their_own():
    """Breaks when the stages that `refine` makes cannot be named elsewhere in the config."""
    data = {**CONFIG, "stages": {"cam": {"refine": ["arm"]}}, "resources": {"stages": {"cam_arm": {"gpus": 1}}}}
    config = parse_config(data)
    config.stage_objects(catalog)
    assert config.resources.resources().of("cam_arm", train=False, light=False).gpus == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("stages.cam.refine=[amr]", "stage cam: refine: unknown 'amr'; did you mean 'arm'.* .known: scg, arm, sgrm"),
        ("stages.cam.refine=[boxes]", "stage cam: refine: unknown 'boxes'"),
        ("stages.cam.refine=arm", "stage cam: refine must be a list"),
        ("stages.cam.refine=[7]", "stage cam: refine: expected a kind, or one kind with its parameters, not 7"),
        ("stages.cam.refine=[{arm: {}, sgrm: {}}]", "stage cam: refine: expected a kind, or one kind"),
        ("stages.cam.refine=[{arm: 7}]", "stage cam: refine: arm: its parameters must be a mapping, not 7"),
        ("stages.cam.refine=[{arm: {maps: ddt}}]", "stage cam: refine: arm: maps is given by the list"),
        ("stages.cam.refine=[{arm: {stage: sgrm}}]", "stage cam: refine: arm: stage is given by the list"),
        ("stages.cam.refine=[{arm: {etta: 1}}]", "stage cam_arm: unknown key 'etta'; did you mean 'eta'"),
        ("stages.cam.refine=[{arm: {eta: 2}}]", "stage cam_arm: eta must be in"),
        ("stages.classify.refine=[arm]", "stage classify: refine: classify gives no score_maps"),
        ("stages.boxes={threshold: 0.5, refine: [sgrm]}", "stage boxes: refine: boxes gives no score_maps"),
        ("dataset.refine=[arm]", "dataset: unknown key 'refine'"),
        ("stages.kam.refine=[arm]", "stage kam: unknown kind 'kam'"),
    ],
)
def test_a_bad_refine_is_one_line(change, words):
    """Breaks when a refinement that cannot be is ignored, or found by a worker."""
    with pytest.raises(UsageError, match=words):
        stages_of(change)


def test_a_name_that_refine_makes_must_be_free():
    """Breaks when one stage silently replaces another."""
    for before in (
        {"cam_arm": {"stage": "ddt"}, "cam": {"refine": ["arm"]}},
        {"cam": {"refine": ["arm"]}, "cam_arm": {}},
    ):
        with pytest.raises(UsageError, match="stage cam: refine makes a stage 'cam_arm', but there is another"):
            refined(**before)
    twice = {"cam": {"refine": ["arm", "sgrm"]}, "cam_arm": None}
    with pytest.raises(UsageError, match="another of this name"):
        refined(**twice)
    long = "c" * 62
    with pytest.raises(UsageError, match="is no name for a stage"):
        refined(**{long: {"stage": "cam", "refine": ["arm"]}})


def test_a_policy_for_equal_pictures_puts_a_stage_between_the_listing_and_its_readers():
    """Breaks when a stage reads images that the policy moved or left out, or the default costs a stage more."""
    further = {"other": {"stage": "ingest.folder", "root": "b"}, "maps3": {"stage": "cam", "images": "other"}}
    explicit = {"maps2": {"stage": "cam", "images": "ingest"}, "boxes_of": {"stage": "truth"}}
    data = {**CONFIG, "stages": {"classify": {}, "cam": {}, **explicit, **further}}
    for policy in ("one_split", "drop"):
        stages = stages_of(f"dataset.duplicates={policy}", "dataset.near_duplicates=true", data=data)
        assert list(stages)[:5] == ["ingest", "truth", "perceptual_hash", "duplicates", "deduplicate"]
        read = {name: stage.params.images for name, stage in stages.items() if hasattr(stage.params, "images")}
        assert {name for name, images in read.items() if images == "deduplicate"} == {"classify", "cam", "maps2"}
        assert read["maps3"] == "other"
        assert stages["duplicates"].params.policy == policy
        assert stages["duplicates"].params.hashes == "perceptual_hash"
        assert stages["deduplicate"].title == stages["ingest"].title == "folder:data"
    kept = stages_of("dataset.duplicates=keep", "dataset.near_duplicates=false", data=data)
    assert {name: stage.params for name, stage in kept.items() if name != "ingest"} == {
        name: stage.params for name, stage in stages_of(data=data).items() if name != "ingest"
    }


def test_what_is_done_about_equal_pictures_is_in_no_recipe_of_the_listing():
    """Breaks when a policy opens every image again, or saying the default makes results stale."""
    plain = check_inputs(stages_of())
    for change in ("duplicates=keep", "near_duplicates=false"):
        assert check_inputs(stages_of(f"dataset.{change}")) == plain
    for change in ("duplicates=drop", "near_duplicates=true"):
        changed = check_inputs(stages_of(f"dataset.{change}"))
        assert (changed["ingest"], changed["truth"]) == (plain["ingest"], plain["truth"])
        assert changed["duplicates"] != plain["duplicates"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dataset.duplicates=dropp", "dataset: duplicates must be one of keep, one_split, drop, not 'dropp'"),
        ("dataset.duplicates=", "dataset: duplicates: "),
        ("dataset.near_duplicates=1", "dataset: near_duplicates: "),
        ("stages.duplicates={}", "'duplicates' is reserved"),
        ("stages.deduplicate={stage: cam}", "'deduplicate' is reserved"),
        (
            "stages.more={stage: ingest.folder, root: x, duplicates: drop}",
            "stage more: duplicates is a key of `dataset` alone: add a stage {stage: duplicates, images: more}",
        ),
        (
            "stages.again={stage: deduplicate, images: ingest, duplicates: of_more}",
            "stage again: duplicates: there is no stage 'of_more'",
        ),
    ],
)
def test_a_bad_word_about_equal_pictures_is_one_line(change, words):
    """Breaks when a policy that is misspelt, or said of a further data set, is silently none."""
    with pytest.raises(UsageError, match=re.escape(words)):
        check_inputs(stages_of(change))


def test_groups_of_other_images_are_refused():
    """Breaks when images are left out because others repeat: ids of two data sets may be the same."""
    further = {
        "more": {"stage": "ingest.folder", "root": "x"},
        "groups": {"stage": "duplicates", "images": "more"},
        "fewer": {"stage": "deduplicate", "images": "more", "duplicates": "groups"},
    }
    check_inputs(stages_of(data={**CONFIG, "resources": {}, "stages": further}))
    wrong = {**further, "fewer": {"stage": "deduplicate", "images": "more"}}
    with pytest.raises(
        UsageError, match="stage fewer: duplicates 'duplicates' is that of 'ingest', not of 'more': add"
    ):
        check_inputs(stages_of(data={**CONFIG, "resources": {}, "stages": wrong}))
