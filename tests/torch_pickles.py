"""What Python's own unpickler needs to read a track of the raw release: trusted fixtures only, never hostile files."""

import io
from collections import OrderedDict

import torch


class TorchNames:
    """The names that such a track mentions; mixed into an unpickler."""

    def find_class(self, module, name):
        """Tensors by torch itself, weights alone; arrays by numpy; nothing else."""
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return lambda data: torch.load(io.BytesIO(data), weights_only=True)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return torch._utils._rebuild_tensor_v2
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        assert module.startswith("numpy")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
