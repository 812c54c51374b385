"""What stages of several rooms are built on: it knows the pipeline and vision, and no room."""
