"""What a run is: store, stage contract, planning, workers, trainings, runners. It knows no stage by name.

Rooms, from the ground up: `base` (errors, hashes, parameters), `store` (records, paths, objects), `contract` (what a
stage is), `planning` and `config` (what is to be computed), `worker` and `training` (computing it), `running` and
`on_ray` (where it is computed), `upkeep` (what a run root holds afterwards).
"""
