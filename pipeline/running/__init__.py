"""Running a plan, stage after stage, with progress; and the runner that needs no Ray."""
