"""What everything else stands on: errors, hashes, parameters, clocks. It imports nothing of the pipeline."""
