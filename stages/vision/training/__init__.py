"""Building blocks of trainings: batches, views, optimizers and schedules."""
