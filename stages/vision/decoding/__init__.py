"""Decoders of image files, strict and within a cost budget; call them by `stages.vision.images`."""
