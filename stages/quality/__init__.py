"""What speaks for each pseudo box, and the chance that it is right."""
