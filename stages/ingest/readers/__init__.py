"""One module a layout: how a data set as it lies becomes a listing of images."""
