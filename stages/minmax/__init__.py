"""MinMaxCAM (Wang et al. 2021)."""
