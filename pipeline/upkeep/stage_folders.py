"""The folders of a run root that are those of stages, whether a config knows them or not."""

from pipeline.store import layout
from pipeline.store.paths import UnsafePathError
from pipeline.store.store import Store


def recipes_by_stage(store: Store) -> dict[str, list[str]]:
    """Stage -> its recipes; folders without a recipe, and links out of the run root, are left out."""
    found = {name: _recipes(store, name) for name in store.files.names("") if name != layout.DAMAGED}
    return {name: recipes for name, recipes in found.items() if recipes}


def _recipes(store: Store, stage: str) -> list[str]:
    try:
        return [name for name in store.files.names(stage) if layout.is_recipe(name)]
    except UnsafePathError:
        return []
