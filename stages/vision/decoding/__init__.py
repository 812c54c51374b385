"""Image files of many formats to RGB arrays: strictly, and within a budget. `stages.vision.images` is the way in."""
