"""All contenders do the same work."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2LMHeadModel

from addition_gym import PAD_TOKEN_ID, ScratchpadAddEnv, ScratchpadAddVectorEnv, decode, prompt, solution
from benchmarks.contenders.hugging_face import HuggingFace
from benchmarks.contenders.matrix_products import QUERY_BLOCK, MatrixProducts, operations
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.stock import stock_rollout, stock_update
from benchmarks.episodes import Episodes, solutions
from benchmarks.gpu import decoded_bytes
from benchmarks.parts.environment import solving_actions
from benchmarks.random_model import save_random_model

DIGITS = 1


@pytest.fixture(scope="module")
def ours() -> Ours:
    ours = Ours(lanes=4, digits=DIGITS)
    ours.rollout()
    return ours


@pytest.fixture(scope="module")
def hugging_face() -> HuggingFace:
    return HuggingFace()


@pytest.fixture(scope="module")
def episodes(ours) -> Episodes:
    return ours.episodes


def test_right_solutions_are_episodes():
    episodes = solutions(4, digits=2, seed=3)
    for row in range(4):
        text = decode(episodes.tokens[row])
        question = text[: episodes.prompt_lengths[row]]
        a, b = map(int, question.split("\n")[1].split("+"))
        assert question == prompt(a, b)
        assert text + "\n" == prompt(a, b) + solution(a, b)
        assert episodes.completion_lengths[row] == len(solution(a, b))
        assert episodes.text_lengths[row] == len(text)


def test_states_are_beginnings_of_the_texts():
    episodes = solutions(3, digits=2)
    states = episodes.states(np.array([[0.0] * 3, [0.5] * 3]))
    for row in range(3):
        length = episodes.prompt_lengths[row]
        assert (states[0, row] != PAD_TOKEN_ID).sum() == length
        assert (states[1, row] != PAD_TOKEN_ID).sum() == length + episodes.completion_lengths[row] // 2
        assert decode(episodes.tokens[row]).startswith(decode(states[1, row]))


def test_ours_repeats_the_same_episodes_and_does_not_learn(ours, episodes):
    before = [parameter.clone() for parameter in ours.agent.policy.parameters()]
    assert ours.update() == episodes.n_tokens
    assert ours.rollout() == episodes.n_tokens
    assert np.array_equal(ours.episodes.tokens, episodes.tokens)
    assert all(torch.equal(new, old) for new, old in zip(ours.agent.policy.parameters(), before, strict=True))


def test_all_count_the_same_completion_tokens(ours, episodes, hugging_face):
    products = MatrixProducts(hugging_face.model.config)
    assert ours.update() == episodes.n_tokens
    assert hugging_face.generate(episodes) == hugging_face.forward_backward(episodes) == episodes.n_tokens
    assert products.rollout(episodes) == products.update(episodes, batch_size=2) == episodes.n_tokens


def test_stock_reads_each_sampled_state_once(episodes, monkeypatch):
    stock = stock_rollout(episodes, 4, DIGITS, "cpu")
    read = []
    for name in ("forward", "predict_values"):
        original = getattr(stock.ppo.policy, name)
        monkeypatch.setattr(stock.ppo.policy, name, lambda obs, original=original: read.append(obs.numpy()) or original(obs))
    for _ in range(2):
        read.clear()
        assert stock.rollout() == 4 * 4
        lengths = sorted((obs[0] != PAD_TOKEN_ID).sum() for obs in read)
        progress = np.array([0.125, 0.375, 0.625, 0.875])
        assert lengths == sorted(episodes.prompt_lengths[0] + (progress * episodes.completion_lengths[0]).astype(int))


def test_stock_updates_from_as_many_transitions_as_it_says(episodes):
    stock = stock_update(episodes, 8, DIGITS, "cpu")
    before = stock.ppo._n_updates
    assert stock.update() == stock.ppo.rollout_buffer.log_probs.size == 8
    assert stock.ppo._n_updates == before + 1


def test_products_of_an_update_are_those_of_the_model(hugging_face):
    """A forward of the reference, then forward and backward, counted by PyTorch; two blocks of queries, so that a quarter of
    the square of attention is left out."""
    length = 2 * QUERY_BLOCK
    tokens = np.ones((2, length), dtype=np.int64)
    episodes = Episodes(tokens, np.ones_like(tokens, dtype=np.bool_))
    config = hugging_face.model.config
    model = GPT2LMHeadModel._from_config(config, attn_implementation="eager")  # PyTorch does not count fused attention
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(torch.from_numpy(tokens), use_cache=False)
    square = 2 * config.n_layer * 4 * length**2 * config.n_embd
    expected = 4 * (forward.get_total_flops() - square / 4)
    assert operations(config, episodes, batch_size=2)[1] == expected


def test_products_of_a_rollout_are_those_of_decoding(hugging_face):
    """One lane: every token but the last is multiplied with every weight once, and attends to itself and those before."""
    tokens = np.ones((1, 12), dtype=np.int64)
    mask = np.arange(12)[None] >= 4
    config = hugging_face.model.config
    width, layers = config.n_embd, config.n_layer
    linear = 12 * layers * 24 * width**2 + 8 * 2 * width * config.vocab_size
    attention = layers * 4 * width * (5 * 5 + sum(range(6, 13)))
    assert operations(config, Episodes(tokens, mask), batch_size=1)[0] == linear + attention


def test_decoding_reads_weights_once_a_step_and_contexts_once_a_token(hugging_face):
    tokens = np.ones((2, 6), dtype=np.int64)
    mask = np.array([[0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0]], dtype=np.bool_)
    config = hugging_face.model.config
    weights = sum(p.numel() for name, p in hugging_face.model.named_parameters() if "wpe" not in name)
    contexts = (3 + 4 + 5 + 6) + (4 + 5)
    expected = 2 * (weights * 4 + 2 * config.n_layer * config.n_embd * contexts)
    assert decoded_bytes(hugging_face.model, Episodes(tokens, mask)) == expected


def test_replayed_actions_solve_problems_in_all_environments():
    native = ScratchpadAddVectorEnv(3, digits=2)
    dummy = DummyVecEnv([lambda: ScratchpadAddEnv(digits=2)] * 3)
    actions = solving_actions(native, 250)
    rewards = np.zeros((2, 3))
    native.reset(seed=0)
    dummy.seed(0)
    dummy.reset()
    ended = 0
    for tokens in actions:
        _, reward, terminations, _, _ = native.step(tokens)
        rewards[0] += reward
        ended += terminations.sum()
        rewards[1] += dummy.step(tokens)[1]
    assert rewards[0].sum() == ended >= 3
    assert np.array_equal(rewards[0], rewards[1])


def test_a_random_model_spends_the_budget(tmp_path):
    save_random_model(tmp_path, digits=2, n_layer=1, n_head=2, n_embd=32)
    ours = Ours(lanes=4, digits=DIGITS, pretrained=str(tmp_path))
    ours.rollout()
    assert (ours.episodes.text_lengths == ours.agent.policy.max_tokens - 1).all()
