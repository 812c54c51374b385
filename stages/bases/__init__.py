"""Shared bases of stages of several rooms; they import the pipeline and the ground below, but no room."""
