"""Optimisers and learning-rate schedules: the names, defaults and numbers of ``torch.optim``."""

from striate.optim import lr_scheduler
from striate.optim.sgd import SGD

__all__ = ["SGD", "lr_scheduler"]
