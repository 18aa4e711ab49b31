"""Training: epochs, schedules, checkpoints, and what is shown and written on the way."""

from striate.trainer.callbacks import Callback, MetricsFile
from striate.trainer.evaluation import Evaluation, evaluate
from striate.trainer.failure import TrainingError
from striate.trainer.trainer import Trainer

__all__ = ["Callback", "Evaluation", "MetricsFile", "Trainer", "TrainingError", "evaluate"]
