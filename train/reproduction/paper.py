"""Published numbers of arXiv:2502.06533, to stand beside ours."""

from train.measure.choices import Distribution

CERTAINTY_GAP = {3: (-0.33, 0.01), 5: (-0.21, 0.18), 7: (-0.13, 0.04)}
"""Table 1, critical tokens: certainty minus the mean certainty of the other tokens, and the half-width, by N."""

OTHER_CERTAINTY_GAP = {3: (0.0012, 0.0001), 5: (0.0002, 0.0001), 7: (0.0004, 0.0001)}
"""Table 1, the column "non-critical (minimum)"."""

ACCURACY: dict[Distribution, dict[int, tuple[tuple[float, float], ...]]] = {
    "identical": {
        7: ((98.9, 0.7), (48.8, 3.0), (0, 0), (0, 0)),
        9: ((96.4, 0.6), (78.9, 2.4), (0.5, 0.5), (0, 0)),
        11: ((91.2, 1.3), (75.1, 2.7), (30.7, 2.4), (0.2, 0.3)),
        13: ((93.0, 1.6), (88.9, 2.1), (67.7, 3.1), (20.4, 2.4)),
    },
    "varying": {
        7: ((100, 0), (69.0, 2.4), (0, 0), (0, 0)),
        9: ((97.0, 0.6), (89.4, 1.8), (6.9, 1.3), (0, 0)),
        11: ((94.4, 1.4), (87.0, 2.1), (53.7, 3.2), (7.3, 1.6)),
        13: ((95.6, 1.4), (92.5, 1.9), (84.7, 2.4), (51.8, 3.2)),
    },
}
"""Tables 4 (identical) and 5 (varying): accuracy in per cent on N to N+3 digits and half-width of its 95% interval, by N."""


def accuracy_rows(distribution: Distribution) -> list[list[str]]:
    """Table 4 or 5 as text, one row per N."""
    return [
        [f"{digits} (paper)", *(f"{value:.1f} ± {half_width:.1f}" for value, half_width in row)]
        for digits, row in ACCURACY[distribution].items()
    ]
