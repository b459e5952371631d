"""Completion tokens a second of one update, and the share of the machine's peak that it reaches."""

from benchmarks.contenders.hugging_face import HuggingFace
from benchmarks.contenders.matrix_products import MatrixProducts, operations
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.stock import stock_update
from benchmarks.measure import Part, Row, Settings, compare, interleave
from benchmarks.parts.machine import Gemm

BARS = {"stock SB3": 100.0, "transformers": 1.0}


def measure(settings: Settings) -> list[Row]:
    """All contenders on the episodes of one of our rollouts."""
    lanes = settings.train_lanes
    ours = Ours(lanes, settings.digits, device=settings.device)
    ours.rollout()
    episodes = ours.episodes
    stock = stock_update(episodes, settings.stock_transitions, settings.digits, settings.device)
    hugging_face = HuggingFace(device=settings.device)
    config = hugging_face.model.config
    products = MatrixProducts(config, settings.device)
    gemm = Gemm(settings.gemm_size, settings.device)
    rates = interleave(
        {
            "ours": ours.update,
            "stock SB3": stock.update,
            "transformers": lambda: hugging_face.forward_backward(episodes),
            "matrix products": lambda: products.update(episodes, ours.agent.batch_size),
            gemm.name: gemm.multiply,
        },
        settings.repeats,
        settings.device,
    )
    peak = rates.pop(gemm.name)
    flops_per_token = operations(config, episodes, ours.agent.batch_size)[1] / episodes.n_tokens
    giga = {"ours": [flops_per_token * rate / 1e9 for rate in rates["ours"]], gemm.name: [rate / 1e9 for rate in peak]}
    case = f"{lanes} episodes, {episodes.n_tokens:,} tokens"
    return compare(case, "tokens/s", rates, at_least=BARS) + compare("its operations", "GFLOP/s", giga)


PART = Part(
    "Update",
    "One pass over one rollout. Ours: all of train(), with the reference's forward, the penalty's weights, minibatches and "
    "optimizer. Stock SB3: its train() on 64 transitions at a time, each a whole text; a few minibatches are timed. "
    "transformers: only forward and backward of minibatches of 8 random episodes, padded right, all logits, no reference, no "
    "optimizer. Matrix products: those of the reference's forward and of the model's forward and backward, nothing padded. "
    "Operations: of these products, against the machine's peak.",
    measure,
)
