"""Models: PyTorch modules from `(stack, mask, motion, noise)` to products. Only the modules beside this import torch.

`nowcast.models.spec` says in numpy alone what a model takes and gives, so that engines without torch can serve it.
"""
