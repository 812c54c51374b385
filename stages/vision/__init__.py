"""The ground that all rooms stand on: images, boxes, masks, score maps, backbones. No Ray, no pipeline."""
