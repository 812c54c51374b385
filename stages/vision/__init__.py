"""Shared mathematics of all rooms: images, boxes, masks, score maps, backbones. No Ray, no pipeline."""
