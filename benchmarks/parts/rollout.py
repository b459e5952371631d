"""Completion tokens a second of whole episodes, by number of lanes."""

from benchmarks.contenders.hugging_face import HuggingFace
from benchmarks.contenders.matrix_products import MatrixProducts
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.stock import stock_rollout
from benchmarks.measure import Part, Row, Settings, compare, interleave

BARS = {"stock SB3": 40.0, "transformers generate": 4.0, "matrix products": 0.5}


def measure(settings: Settings) -> list[Row]:
    """One case a number of lanes; the bars are for ``train_lanes``."""
    rows: list[Row] = []
    for lanes in settings.lanes:
        rows += compare_rollouts(lanes, settings, BARS if lanes == settings.train_lanes else {})
    return rows


def compare_rollouts(lanes: int, settings: Settings, bars: dict[str, float]) -> list[Row]:
    """All contenders on the problems and lengths of our episodes."""
    ours = Ours(lanes, settings.digits, device=settings.device)
    ours.rollout()
    episodes = ours.episodes
    stock = stock_rollout(episodes, settings.stock_states, settings.digits, settings.device)
    hugging_face = HuggingFace(device=settings.device)
    products = MatrixProducts(hugging_face.model.config, settings.device)
    rates = interleave(
        {
            "ours": ours.rollout,
            "stock SB3": stock.rollout,
            "transformers generate": lambda: hugging_face.generate(episodes),
            "matrix products": lambda: products.rollout(episodes),
        },
        settings.repeats,
        settings.device,
    )
    case = f"{lanes} {'lane' if lanes == 1 else 'lanes'}, {episodes.n_tokens:,} tokens"
    return compare(case, "tokens/s", rates, at_least=bars)


PART = Part(
    "Rollout",
    "Completion tokens of whole episodes, one a lane, on the same problems; ours and stock SB3 with the environment. Stock SB3 "
    "has no cache and reads the whole text for every token: some states of each episode are timed, spread evenly over it, no "
    "lane idle. generate has one, and runs until the longest episode ends; only tokens up to the end of each episode count. "
    "Matrix products: the model's, alone, token by token (lanes still running, their mean context): the limit of decoding "
    "without drafts.",
    measure,
)
