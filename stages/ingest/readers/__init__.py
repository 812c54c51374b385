"""Readers, one per layout of data sets: each lists the images of its layout."""
