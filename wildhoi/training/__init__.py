"""Training of the flow prior on a data folder."""

from wildhoi.training.training import Trained, train_flow_prior

__all__ = ["Trained", "train_flow_prior"]
