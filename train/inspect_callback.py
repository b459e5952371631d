"""The token inspector in TensorBoard: a picture of one solution, token by token, while the policy learns."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from stable_baselines3.common.logger import Figure as LoggedFigure

from agents import PrioritizedKLPPO
from agents.weighting.signals import ReferenceCertainty
from train.measure.accuracy import held_out_problems
from train.measure.callbacks import RolloutCallback
from train.measure.inspection import QUANTITIES, Colour, Inspection, complete, inspect
from train.measure.pictures import draw_text


class InspectorCallback(RolloutCallback):
    """``inspector``: the right solution of one held-out problem, its tokens coloured by some quantities.

    It is the same problem all along, so that TensorBoard's slider shows where the policy moves. Certainty, and with it the
    prioritized weight, stands still there: it is the frozen reference's.

    :param digits: N
    :param extra: k, of the N+k problem to look at
    :param every: rollouts between two pictures
    :param colours: the quantities, a panel each
    """

    def __init__(self, digits: int, extra: int, every: int = 10, colours: Sequence[Colour] = ("kl", "weight")):
        super().__init__(every)
        self.digits, self.colours = digits, colours
        (self.problem,) = held_out_problems(digits, extra, 1, seed=0)

    def act(self) -> None:
        assert isinstance(self.model, PrioritizedKLPPO)
        certainty = ReferenceCertainty(self.model.certainty, self.model.certainty_temperature)
        tokens = complete(self.policy, self.problem)
        inspection = inspect(self.policy, self.problem, tokens, self.digits, self.model.token_weights.kl, certainty)
        figure = LoggedFigure(draw(inspection, self.colours), close=False)
        self.logger.record("inspector", figure, exclude=("stdout", "log", "json", "csv"))


def draw(inspection: Inspection, colours: Sequence[Colour]) -> Figure:
    """The text once for every quantity; critical tokens are boxed.

    :param inspection: of a completion
    :param colours: the quantities
    :return: a figure of one panel each, one below the other
    """
    height = inspection.text.count("\n") + 1
    figure = Figure(figsize=(9, 0.25 * (height + 1) * len(colours)), layout="constrained")
    for axes, colour in zip(figure.subplots(len(colours), squeeze=False)[:, 0], colours, strict=True):
        shades = [QUANTITIES[colour].shade(float(value)) for value in inspection.quantities[colour][: len(inspection.text)]]
        draw_text(axes, inspection.text, shades, inspection.critical)
        axes.set_title(f"{inspection.problem[0]}+{inspection.problem[1]}, {_scale(colour)}", loc="left", fontsize=9)
    return figure


def _scale(colour: Colour) -> str:
    quantity = QUANTITIES[colour]
    ends = {"white": quantity.plain, "orange": quantity.orange, "blue": quantity.blue}
    return f"{quantity.label} ({', '.join(f'{name} {end:g}' for name, end in ends.items() if end is not None)})"
