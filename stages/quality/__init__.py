"""Quality signals of each pseudo box, and the chance that it is right."""
