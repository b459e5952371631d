"""A whole iteration, rollout and update."""

from benchmarks.contenders.hugging_face import HuggingFace
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.stock import stock_rollout, stock_update
from benchmarks.measure import Part, Row, Settings, compare, interleave


def measure(settings: Settings) -> list[Row]:
    """Ours against what the other two put together need."""
    lanes = settings.train_lanes
    ours = Ours(lanes, settings.digits, device=settings.device)
    ours.rollout()
    episodes = ours.episodes
    rollout = stock_rollout(episodes, settings.stock_states, settings.digits, settings.device)
    update = stock_update(episodes, settings.stock_transitions, settings.digits, settings.device)
    hugging_face = HuggingFace(device=settings.device)

    def our_iteration() -> int:
        ours.rollout()
        return ours.update()

    def hugging_face_iteration() -> int:
        hugging_face.generate(episodes)
        return hugging_face.forward_backward(episodes)

    rates = interleave(
        {
            "ours": our_iteration,
            "transformers": hugging_face_iteration,
            "stock rollout": rollout.rollout,
            "stock update": update.update,
        },
        settings.repeats,
        settings.device,
    )
    sampled = zip(rates.pop("stock rollout"), rates.pop("stock update"), strict=True)
    rates["stock SB3"] = [1 / (1 / a + 1 / b) for a, b in sampled]
    return compare(f"{lanes} episodes, {episodes.n_tokens:,} tokens", "tokens/s", rates)


PART = Part(
    "Iteration",
    "Rollout and update of the same episodes, contenders as in those two tables. Stock SB3's time is computed from some states "
    "and a few minibatches.",
    measure,
)
