"""Images as later stages read them where equal pictures are moved to one split, or left out."""
