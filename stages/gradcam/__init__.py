"""Class activation maps from gradients (Grad-CAM and related methods), by the package pytorch-grad-cam."""
