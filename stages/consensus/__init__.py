"""One pseudo label an image from those of several stages: the one of the highest quality, or the weighted mean."""
