"""What trainings are made of: batches, views, optimizers and schedules."""
