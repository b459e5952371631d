"""What makes each target of a reproduction."""

from collections.abc import Callable

from train.reproduction import finetuned, pretrained
from train.reproduction.artefact import Artefact
from train.reproduction.workshop import Workshop

MAKERS: dict[str, Callable[[Workshop], Artefact]] = {
    "table-1": pretrained.table_1,
    "table-4": pretrained.table_4,
    "table-5": pretrained.table_5,
    "fig-1": pretrained.fig_1,
    "fig-2": pretrained.fig_2,
    "fig-3": finetuned.fig_3,
    "fig-4": finetuned.fig_4,
    "fig-5": pretrained.fig_5,
    "fig-6": finetuned.fig_6,
    "fig-7": finetuned.fig_7,
    "check-1": pretrained.certainty_by_position,
    "check-2": finetuned.weights_by_exponent,
    "check-3": finetuned.kl_over_training,
    "check-4": finetuned.failure_signatures,
}
