"""The one place that decides what computes: the processor, or a GPU that is there."""

import platform
import re
from pathlib import Path

from wildhoi.errors import InputError


def find_device(name: str) -> str:
    """The torch device of a name: `cpu` or `cuda:N`.

    Args:
        name: `cpu`, `cuda` (the first GPU), `cuda:N`, or `auto` for a GPU where there is one.

    Raises:
        InputError: the name is none of these, or PyTorch sees no such GPU here.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", name):
        raise InputError(f"--device {name}: want auto, cpu, cuda or cuda:N")
    seen = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not seen):
        return "cpu"
    number = int(name.partition(":")[2] or 0)
    if number >= seen:
        raise InputError(f"--device {name}: PyTorch sees {seen} GPUs here; want cpu")
    return f"cuda:{number}"


def describe_device(device: str) -> str:
    """The GPU's name, or the processor's; only the architecture where the system does not tell."""
    import torch

    if device != "cpu":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
