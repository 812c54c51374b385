"""Reading data sets: image files, labels and boxes into tables."""
