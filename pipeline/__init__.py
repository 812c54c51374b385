"""What a run is: stage contracts, planning, the artifact store, runners and the trainer. It knows no stage by name."""
