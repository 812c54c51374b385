"""Moving equal pictures to one split, or leaving them out, before downstream stages read the images."""
