"""Class activation maps from gradients (Grad-CAM and its kin), by way of the package pytorch-grad-cam."""
