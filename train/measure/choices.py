"""What can be chosen in a measurement, for commands and libraries."""

from typing import Literal

Distribution = Literal["mixture", "identical", "varying"]
"""How long the operands of held-out problems are.

- ``"mixture"``: up to N digits, and the RL problems of N+k digits, as in training
- ``"identical"``: both operands have exactly N+k digits (arXiv:2502.06533, Table 4)
- ``"varying"``: one operand has N+k digits, the other at most N+k (Table 5)
"""
HeldOut = Literal["validation", "test"]
"""Which problems that are held out from training: those for tuning and for curves during a run, or those for final numbers."""
Completion = Literal["solution", "greedy", "sampled"]
Colour = Literal["certainty", "entropy", "surprisal", "kl", "weight", "value", "advantage"]
