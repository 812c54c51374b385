"""Checkpoints of trainings in the store: bytes and back, with a checksum, and the curves that go with them."""

import hashlib
import io
import pickle

from pipeline.base.errors import StageFailed
from pipeline.contract.context import Checkpoint
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext

_HEADER = b"weakbox checkpoint 1\n"
"""Followed by the sha256 digest of all that comes after it. The number is the version of the checkpoint format."""
_BODY = len(_HEADER) + hashlib.sha256().digest_size


def read_checkpoint(store: Store, path: str) -> bytes | None:
    """The bytes of a checkpoint, or None before the first. Storage errors are raised, so that no training restarts."""
    try:
        return store.files.get(path)
    except FileNotFoundError:
        return None


def show_curves(context: LocalContext, folder: str | None, state: Checkpoint | None) -> None:
    """Publish the curves of the newest checkpoint, as a kill may have prevented it; without one, remove old curves."""
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
    body = buffer.getvalue()
    return _HEADER + hashlib.sha256(body).digest() + body


def load_checkpoint(data: bytes, path: str) -> Checkpoint:
    """A checkpoint from bytes. Raises StageFailed, which names `path`, for any other bytes than `dump_checkpoint`'s."""
    import torch

    body = data[_BODY:]
    if data[:_BODY] != _HEADER + hashlib.sha256(body).digest():
        raise _unusable(path, "is damaged, or was not written by this version of weakbox")
    try:
        state: Checkpoint = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unusable(path, "holds objects besides tensors and plain values") from error
    return state


def _unusable(path: str, why: str) -> StageFailed:
    return StageFailed(f"the checkpoint {path} {why}: remove it, and the training begins anew")
