"""The stages that a data set has whatever the config names, and whose images all others read."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from pipeline.base.json_types import Json
from pipeline.base.params import Parameters, input_tables

P = TypeVar("P", bound=Parameters)

INGEST, TRUTH, DUPLICATES = "ingest", "truth", "duplicates"
"""Those that every data set has."""
DEDUPLICATE, PERCEPTUAL_HASH = "deduplicate", "perceptual_hash"
"""Those that `dataset: duplicates` and `near_duplicates` ask for."""
IMPLIED = (INGEST, TRUTH, DUPLICATES, DEDUPLICATE, PERCEPTUAL_HASH)

POLICY, NEAR = "duplicates", "near_duplicates"
"""Parameters of every reader that are about a data set as a whole, not about its listing."""
_KEEP = "keep"


def images_of(dataset: Mapping[str, Json]) -> str:
    """The stage whose images all others read. dataset: `dataset` of a config."""
    return INGEST if dataset.get(POLICY, _KEEP) == _KEEP else DEDUPLICATE


def implied(dataset: Mapping[str, Json], title: str) -> dict[str, dict[str, Json]]:
    """The entries of the stages beside `ingest`; each is of the kind that it is called. title: of the data set."""
    near = {"hashes": PERCEPTUAL_HASH} if dataset.get(NEAR) else {}
    entries: dict[str, dict[str, Json]] = {TRUTH: {}}
    if near:
        entries[PERCEPTUAL_HASH] = {}
    entries[DUPLICATES] = {"policy": dataset.get(POLICY, _KEEP), **near}
    if images_of(dataset) == DEDUPLICATE:
        entries[DEDUPLICATE] = {"title": title}
    return entries


def redirected(kind: Json, params: P, images: str) -> P:
    """Parameters that read the stage `images` where they read those of `ingest`; `IMPLIED` kinds read the listing."""
    if kind in IMPLIED:
        return params
    slots = [slot for slot, table in input_tables(type(params)).items() if table == "images"]
    return dataclasses.replace(params, **{slot: images for slot in slots if getattr(params, slot) == INGEST})
