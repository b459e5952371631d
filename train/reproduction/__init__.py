"""Every table and figure of arXiv:2502.06533, and four checks beside them; the command is ``python -m train.reproduce``."""
