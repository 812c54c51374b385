"""The stages that every run has for its data set without naming them in the config."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from pipeline.base.json_types import Json
from pipeline.base.params import Parameters, input_tables

P = TypeVar("P", bound=Parameters)

INGEST, TRUTH, DUPLICATES = "ingest", "truth", "duplicates"
"""The stages of every data set."""
DEDUPLICATE, PERCEPTUAL_HASH = "deduplicate", "perceptual_hash"
"""The stages that the keys `duplicates` and `near_duplicates` of `dataset` add."""
IMPLIED = (INGEST, TRUTH, DUPLICATES, DEDUPLICATE, PERCEPTUAL_HASH)

POLICY, NEAR = "duplicates", "near_duplicates"
"""Parameters of every reader that are about a data set as a whole, not about its listing."""
_KEEP = "keep"


def images_of(dataset: Mapping[str, Json]) -> str:
    """The stage whose images all others read. dataset: `dataset` of a config."""
    return INGEST if dataset.get(POLICY, _KEEP) == _KEEP else DEDUPLICATE


def implied(dataset: Mapping[str, Json], title: str) -> dict[str, dict[str, Json]]:
    """The entries of the implied stages besides `ingest`: name, which is also the kind -> parameters.

    dataset: `dataset` of a config. title: name of the data set.
    """
    near = {"hashes": PERCEPTUAL_HASH} if dataset.get(NEAR) else {}
    entries: dict[str, dict[str, Json]] = {TRUTH: {}}
    if near:
        entries[PERCEPTUAL_HASH] = {}
    entries[DUPLICATES] = {"policy": dataset.get(POLICY, _KEEP), **near}
    if images_of(dataset) == DEDUPLICATE:
        entries[DEDUPLICATE] = {"title": title}
    return entries


def redirected(kind: Json, params: P, images: str) -> P:
    """Let parameters read the stage `images` where they read the images of `ingest`; `IMPLIED` kinds are unchanged."""
    if kind in IMPLIED:
        return params
    slots = [slot for slot, table in input_tables(type(params)).items() if table == "images"]
    return dataclasses.replace(params, **{slot: images for slot in slots if getattr(params, slot) == INGEST})
