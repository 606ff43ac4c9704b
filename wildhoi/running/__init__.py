"""Running a method over a split: batches, resuming, shards, and the submission that comes of it."""

from wildhoi.running.options import RunOptions as RunOptions
from wildhoi.running.runner import Ran as Ran
from wildhoi.running.runner import run_method as run_method
from wildhoi.running.watching import Watch as Watch
