"""The plain CAM network, fine-tuned with an augmentation or a regulariser of the literature, or with none."""
