"""Checkpoints of trainings in the store: bytes and back, and the curves that go with them."""

import io

from pipeline.contract.context import Checkpoint
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext


def read_checkpoint(store: Store, path: str) -> bytes | None:
    """The bytes of a checkpoint, or None before the first. A storage error is raised: it must not mean a new start."""
    try:
        return store.files.get(path)
    except FileNotFoundError:
        return None


def show_curves(context: LocalContext, folder: str | None, state: Checkpoint | None) -> None:
    """Publish the curves of the newest checkpoint, which a kill may have kept back; before the first, remove older."""
    from pipeline.training.tensorboard import publish

    if folder is not None and state is not None:
        publish(context.store, folder, state, context.scratch)
    elif folder is not None:
        context.store.files.remove_folder(folder)


def dump_checkpoint(state: Checkpoint) -> bytes:
    """A checkpoint as bytes: tensors and plain values only, so that it loads without unpickling code."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load_checkpoint(data: bytes) -> Checkpoint:
    """A checkpoint from bytes; refuses anything but tensors and plain values."""
    import torch

    state: Checkpoint = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
