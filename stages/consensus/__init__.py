"""Of the boxes that several stages found in an image the one of the highest quality, or their weighted mean."""
