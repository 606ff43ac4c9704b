"""What spreads a training over processes and devices, and what the processes of one launch settle among them."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildhoi.engine import only_run_in
from wildhoi.errors import InputError, RunError
from wildhoi.files import remove_unfinished

if TYPE_CHECKING:
    from baselines.training.options import TrainOptions


def make_accelerator(device: str, options: "TrainOptions") -> Any:
    """What spreads a training over processes and devices; one that launchers have set up, or this process alone.

    Raises:
        InputError: there is no such device, or it cannot compute with the precision.
    """
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    from baselines.encoders import NONE, SMALL
    from wildhoi.devices import find_device

    found = find_device(device)
    if options.precision == "fp16" and found == "cpu":
        raise InputError("precision fp16: needs a GPU; want float32 or bf16")
    if found != "cpu" and "LOCAL_RANK" not in os.environ:  # a launcher gives each process a GPU of its own
        torch.cuda.set_device(found)
    AcceleratorState._reset_state()  # a process may train several priors, each with its own precision
    mixed = {"float32": "no", "bf16": "bf16", "fp16": "fp16"}[options.precision]
    # some backbones have parameters that nothing depends on, such as the token of masked patches
    spread = DistributedDataParallelKwargs(find_unused_parameters=options.encoder.name not in (NONE, SMALL))
    return Accelerator(cpu=found == "cpu", mixed_precision=mixed, kwargs_handlers=[spread])


def is_first_process() -> bool:
    """Whether this process is the one of its launch that writes."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


@contextmanager
def only_training_in(out: Path) -> Iterator[None]:
    """Hold the lock of a folder for all processes of a launch: the first takes it and tells the others.

    The folder is made if absent, and removed again where nothing was written to it; what a training that was killed
    left of half a file is removed.

    Raises:
        RunError: another training writes to the folder; on every process, so that none waits for the first.
    """
    from accelerate.utils import broadcast_object_list

    refusal: list[str | None] = [None]
    with ExitStack() as held:
        if is_first_process():
            try:
                held.enter_context(_locked(out))
            except RunError as error:
                refusal = [str(error)]
        broadcast_object_list(refusal)
        if refusal[0] is not None:
            raise RunError(refusal[0])
        yield


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    new = not out.is_dir()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with only_run_in(out):
            for place in (out, *(path for path in out.iterdir() if path.is_dir())):
                remove_unfinished(place)
            yield
    finally:
        if new:
            with suppress(OSError):  # it holds something
                out.rmdir()
