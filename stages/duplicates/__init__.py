"""Equal pictures of a data set, and pictures that look alike, over all its shards."""
