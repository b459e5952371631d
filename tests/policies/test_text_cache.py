"""Speculative decoding against decoding token by token, and against exact probabilities, whatever the drafts."""

from itertools import product

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from policies import GPT2Policy
from policies.text_cache import Draft, TextCache
from tests.policies.helpers import VOCAB_SIZE, random_model

ROWS, MAX_TOKENS, PAD = 9, 16, 0


def make_policy() -> GPT2Policy:
    space = spaces.Box(0, VOCAB_SIZE - 1, (MAX_TOKENS,), np.int64)
    model = random_model(MAX_TOKENS)
    policy = GPT2Policy(space, spaces.Discrete(VOCAB_SIZE), lambda _: 1e-2, config=model.config.to_dict(), temperature=1.3)
    policy.language_model.load_state_dict(model.state_dict())
    with torch.no_grad():
        policy.value_net[-1].weight.normal_()
    policy.set_training_mode(False)
    return policy


@pytest.fixture(scope="module")
def policy() -> GPT2Policy:
    return make_policy()


def padded(texts: list[list[int]]) -> np.ndarray:
    tokens = np.full((len(texts), MAX_TOKENS), PAD, dtype=np.int64)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = text
    return tokens


def prompts(n: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, VOCAB_SIZE, size=rng.integers(1, 6)).tolist() for _ in range(n)]


def episodes(policy: GPT2Policy, cache: TextCache, texts: list[list[int]], deterministic: bool = False) -> list[list[int]]:
    """Texts grow by the token that is decoded, until it is padding or the text is full; values and the rest are checked."""
    texts, rows = [list(text) for text in texts], list(range(len(texts)))
    while rows:
        decoded = policy.decode(padded([texts[row] for row in rows]), cache, deterministic)
        for row, action in zip(rows, decoded.actions.tolist(), strict=True):
            texts[row].append(action)
        ended = [i for i, row in enumerate(rows) if texts[row][-1] == PAD or len(texts[row]) == MAX_TOKENS]
        rows = [rows[i] for i in cache.drop(np.array(ended, dtype=np.int64))]
    return texts


def no_draft(texts: np.ndarray) -> np.ndarray:
    return np.zeros((len(texts), 0), dtype=np.int64)


def noise(seed: int) -> Draft:
    """Random tokens, some of them padding or no tokens at all."""
    rng = np.random.default_rng(seed)
    return lambda texts: rng.integers(-1, VOCAB_SIZE + 2, size=(len(texts), rng.integers(0, 2 * MAX_TOKENS)))


def known(endings: dict[tuple[int, ...], list[int]], wrong: float, seed: int) -> Draft:
    """What follows in the very episodes, up to some wrong tokens."""
    rng = np.random.default_rng(seed)

    def draft(texts: np.ndarray) -> np.ndarray:
        rows = [endings.get(tuple(text[text != PAD].tolist()), [1, 2, 3]) for text in texts]
        drafts = padded(rows)
        return np.where((rng.random(drafts.shape) < wrong) & (drafts != PAD), drafts % (VOCAB_SIZE - 1) + 1, drafts)

    return draft


def wrong_from_the_first(endings: dict[tuple[int, ...], list[int]]) -> Draft:
    return known(endings, wrong=1.0, seed=0)


def check_identity(policy: GPT2Policy, n: int, seed: int, deterministic: bool) -> None:
    given_texts = prompts(n, seed)
    cache = policy.make_cache(n, rng=np.random.default_rng(seed))
    expected = episodes(policy, cache, given_texts, deterministic)
    assert cache.kv.n_reads >= max(len(text) for text in expected) - 6  # token by token
    endings = {tuple(text[:cut]): text[cut:] for text in expected for cut in range(1, len(text) + 1)}
    drafts: list[Draft] = [
        no_draft,
        noise(seed),
        known(endings, 0.0, 0),
        known(endings, 0.2, seed),
        wrong_from_the_first(endings),
    ]
    for draft in drafts:
        cache = policy.make_cache(n, draft=draft, rng=np.random.default_rng(seed))
        assert episodes(policy, cache, given_texts, deterministic) == expected


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), deterministic=st.booleans())
def test_drafts_never_change_a_token(policy: GPT2Policy, seed: int, deterministic: bool) -> None:
    """Random, right, partly wrong, wrong and empty ones, sampled and greedy."""
    check_identity(policy, 7, seed, deterministic)


def test_right_drafts_save_forward_passes(policy: GPT2Policy) -> None:
    given_texts = prompts(ROWS, seed=3)
    cache = policy.make_cache(ROWS, rng=np.random.default_rng(0))
    expected = episodes(policy, cache, given_texts)
    one_by_one = cache.kv.n_reads
    endings = {tuple(text[:cut]): text[cut:] for text in expected for cut in range(1, len(text) + 1)}
    cache = policy.make_cache(ROWS, draft=known(endings, 0.0, 0), rng=np.random.default_rng(0))
    assert episodes(policy, cache, given_texts) == expected
    assert cache.kv.n_reads <= 2 < one_by_one
    assert cache.kv.n_tokens_read <= sum(map(len, expected))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), draft=st.sampled_from([None, no_draft, noise(0)]))
def test_all_that_is_decoded_is_that_of_a_plain_forward(policy: GPT2Policy, seed: int, draft: Draft | None) -> None:
    """Rows continue as told or otherwise, start again, jump ahead, step back, stay, change an early token, or leave."""
    rng = np.random.default_rng(seed)
    cache = policy.make_cache(ROWS, draft=draft, rng=rng)
    texts = prompts(ROWS, seed)
    for _ in range(14):
        deterministic = bool(rng.random() < 0.2)
        decoded = policy.decode(padded(texts), cache, deterministic)
        distribution = policy.get_distribution(torch.as_tensor(padded(texts))).distribution
        log_prob = distribution.log_prob(torch.as_tensor(decoded.actions))
        np.testing.assert_allclose(decoded.log_prob, log_prob.detach(), atol=3e-5)
        np.testing.assert_allclose(
            decoded.values, policy.predict_values(torch.as_tensor(padded(texts)))[:, 0].detach(), atol=3e-5
        )
        np.testing.assert_allclose(
            torch.as_tensor(decoded.logits / policy.temperature).log_softmax(1), distribution.logits.detach(), atol=3e-5
        )
        if deterministic:
            assert decoded.actions.tolist() == distribution.probs.argmax(1).tolist()
        for row, text in enumerate(texts):
            events = ["told", "other", "again", "jump", "back", "stay", "edit"]
            event = rng.choice(events, p=[0.6, 0.1, 0.06, 0.06, 0.06, 0.06, 0.06])
            if event == "again" or len(text) >= MAX_TOKENS - 2:
                texts[row] = prompts(1, int(rng.integers(2**32)))[0]
            elif event == "told":
                texts[row] = text + [int(decoded.actions[row])] * bool(decoded.actions[row] != PAD)
            elif event in ("other", "jump"):
                texts[row] = text + rng.integers(1, VOCAB_SIZE, size=1 if event == "other" else 2).tolist()
            elif event == "back":
                texts[row] = text[: rng.integers(1, len(text) + 1)]
            elif event == "edit":
                position = rng.integers(0, len(text))
                texts[row] = [*text[:position], text[position] % (VOCAB_SIZE - 1) + 1, *text[position + 1 :], 1]
        if rng.random() < 0.2 and len(texts) > 1:
            gone = rng.choice(len(texts), size=rng.integers(1, len(texts)), replace=False)
            texts = [texts[row] for row in cache.drop(gone)]
        elif rng.random() < 0.1:
            cache.reset()
            texts = prompts(ROWS, int(rng.integers(2**32)))


def test_tokens_do_not_depend_on_drafts_where_the_environment_writes_something_else(policy: GPT2Policy) -> None:
    """Every third token is 1, whatever was decoded; each such text then has the random numbers it always had."""

    def actions(draft: Draft | None) -> list[list[int]]:
        cache = policy.make_cache(ROWS, draft=draft, rng=np.random.default_rng(5))
        texts, found = prompts(ROWS, 4), []
        for step in range(MAX_TOKENS - 6):
            decoded = policy.decode(padded(texts), cache).actions.tolist()
            found.append(decoded)
            texts = [
                [*text, 1 if step % 3 == 2 or action == PAD else action] for text, action in zip(texts, decoded, strict=True)
            ]
        return found

    expected = actions(None)
    assert actions(noise(0)) == actions(no_draft) == expected
    assert actions(lambda texts: np.full((len(texts), 20), 2)) == expected


def test_pairs_of_tokens_have_the_probabilities_of_the_model(policy: GPT2Policy) -> None:
    """The second and third token of thousands of texts with drafts that are often right, against enumeration."""

    def probabilities(text: list[int]) -> np.ndarray:
        with torch.no_grad():
            return policy.get_distribution(torch.as_tensor(padded([text]))).distribution.probs[0].double().numpy()

    count, likely = 10_000, int(probabilities([3])[1:].argmax()) + 1
    cache = policy.make_cache(count, draft=lambda texts: np.full((len(texts), 3), likely), rng=np.random.default_rng(0))
    first = policy.decode(padded([[3]] * count), cache).actions
    rows = cache.drop(np.flatnonzero(first != likely))
    second = policy.decode(padded([[3, likely]] * len(rows)), cache).actions
    reads = cache.kv.n_reads
    rest = cache.drop(np.flatnonzero(second == PAD))
    third = policy.decode(padded([[3, likely, int(second[row])] for row in rest]), cache).actions
    assert cache.kv.n_reads == reads  # they were foreseen
    observed, expected = np.zeros((2, VOCAB_SIZE, VOCAB_SIZE))
    observed[PAD, PAD] = (second == PAD).sum()
    np.add.at(observed, (second[rest], third), 1)
    p_second = probabilities([3, likely])
    expected[PAD, PAD] = p_second[PAD]
    for token in range(1, VOCAB_SIZE):
        expected[token] = p_second[token] * probabilities([3, likely, token])
    asked = expected > 0
    assert observed.sum() > 1500
    assert not observed[~asked].any()
    assert chisquare(observed[asked], observed.sum() * expected[asked] / expected[asked].sum()).pvalue > 1e-3
    assert expected.max() < 0.5


@pytest.mark.parametrize("part", ["transformer", "value head"])
def test_changed_weights_are_noticed(part: str) -> None:
    policy = make_policy()
    cache = policy.make_cache(1, draft=lambda texts: np.full((1, 9), 2), rng=np.random.default_rng(0))
    policy.decode(padded([[1, 2, 3]]), cache)
    module = policy.value_net if part == "value head" else policy.language_model.transformer
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    decoded = policy.decode(padded([[1, 2, 3, 2]]), cache)
    obs = torch.as_tensor(padded([[1, 2, 3, 2]]))
    np.testing.assert_allclose(decoded.values, policy.predict_values(obs)[:, 0].detach(), atol=1e-5)
    log_prob = policy.get_distribution(obs).log_prob(torch.as_tensor(decoded.actions)).detach()
    np.testing.assert_allclose(decoded.log_prob, log_prob, atol=1e-5)


def test_bad_drafts_cost_a_bounded_number_of_tokens(policy: GPT2Policy) -> None:
    """Long texts, drafts that are always wrong: the cache soon reads few of them."""
    length, rows = 120, 32
    space = spaces.Box(0, VOCAB_SIZE - 1, (length,), np.int64)
    model = random_model(length)
    long = GPT2Policy(space, spaces.Discrete(VOCAB_SIZE), lambda _: 1e-2, config=model.config.to_dict())

    def greedy_differs(texts: np.ndarray) -> np.ndarray:
        last = long.get_distribution(torch.as_tensor(texts)).distribution.probs[:, 1:].argmin(1).numpy() + 1
        return np.repeat(last[:, None], length, axis=1)

    cache = long.make_cache(rows, draft=greedy_differs, rng=np.random.default_rng(0))
    texts = np.zeros((rows, length), dtype=np.int64)
    texts[:, 0] = 1
    long.decode(texts, cache, deterministic=True)
    written = int(cache._texts.ends.sum())
    assert cache.kv.n_tokens_read / written < 10


def test_drop_keeps_the_others_and_says_where(policy: GPT2Policy) -> None:
    for n_rows in (1, 2, 3, 4):
        for gone in product([False, True], repeat=n_rows):
            cache = policy.make_cache(n_rows)
            order = cache.drop(np.flatnonzero(gone))
            assert sorted(order) == np.flatnonzero(~np.array(gone)).tolist()
            assert cache.shape == (n_rows - sum(gone), MAX_TOKENS)


@pytest.mark.parametrize("deterministic", [False, True])
def test_drafts_never_change_a_token_of_a_thousand_texts(policy: GPT2Policy, deterministic: bool) -> None:
    check_identity(policy, 1000, seed=11, deterministic=deterministic)


def test_greedy_then_sampled_has_random_numbers(policy: GPT2Policy) -> None:
    """The second token is sampled after a greedy first one, by its exact probabilities."""
    count = 2000
    cache = policy.make_cache(count, rng=np.random.default_rng(0))
    first = policy.decode(padded([[3, 1]] * count), cache, deterministic=True).actions
    text = [3, 1, int(first[0])]
    second = policy.decode(padded([text] * count), cache, deterministic=False).actions
    with torch.no_grad():
        probabilities = policy.get_distribution(torch.as_tensor(padded([text]))).distribution.probs[0].double().numpy()
    observed = np.bincount(second, minlength=VOCAB_SIZE)
    assert chisquare(observed, count * probabilities / probabilities.sum()).pvalue > 1e-3


def test_a_used_cache_decodes_bit_for_bit_as_a_new_one(policy: GPT2Policy) -> None:
    """Reset, it remembers nothing that changes the shapes of forward passes, and with them the last bits."""
    texts = prompts(ROWS, 8)
    used = policy.make_cache(ROWS, draft=noise(3), rng=np.random.default_rng(0))
    episodes(policy, used, prompts(ROWS, 9))
    used.reset()
    found = []
    for cache in (used, policy.make_cache(ROWS, draft=noise(3), rng=np.random.default_rng(0))):
        cache.draft = lambda given: np.full((len(given), 4), 2)
        cache.rng = np.random.default_rng(1)
        episodes(policy, cache, texts)
        found.append([cache._texts.log_prob.tobytes(), cache._texts.values.tobytes(), cache._surprises, cache._kept])
    assert found[0][2:] == found[1][2:]


def test_a_changed_temperature_is_noticed() -> None:
    policy = make_policy()
    cache = policy.make_cache(1, draft=lambda texts: np.full((1, 9), 2), rng=np.random.default_rng(0))
    text = [1, 2, 3]
    for temperature in (1.0, 2.0, 0.5):
        policy.temperature = temperature
        decoded = policy.decode(padded([text]), cache)
        with torch.no_grad():
            distribution = policy.get_distribution(torch.as_tensor(padded([text])))
        np.testing.assert_allclose(decoded.log_prob, distribution.log_prob(torch.as_tensor(decoded.actions)), atol=1e-5)
        text = [*text, int(decoded.actions[0]) or 1]


def test_broken_weights_leave_nothing_behind() -> None:
    policy = make_policy()
    cache = policy.make_cache(2, rng=np.random.default_rng(0))
    state = {name: weight.clone() for name, weight in policy.state_dict().items()}
    with torch.no_grad():
        policy.language_model.transformer.wte.weight[1] = torch.nan
    with pytest.raises(FloatingPointError):
        policy.decode(padded([[1, 2, 3, 4], [2]]), cache)
    policy.load_state_dict(state)
    assert np.isfinite(policy.decode(padded([[2, 2], [3]]), cache).log_prob).all()


def test_one_token_without_a_cache_reads_no_draft(policy: GPT2Policy) -> None:
    """SB3 users often predict without the state; a draft would be read to its end each time."""
    asked = []

    def draft(texts: np.ndarray) -> np.ndarray:
        asked.append(len(texts))
        return np.full((len(texts), 9), 2)

    policy.decode(padded([[1, 2]]), policy.make_cache(1, draft=draft))
    assert not asked


@pytest.mark.parametrize("drafts", [np.full(9, 2), np.full((2, 9), 2), np.full((1, 9), 2.5), "no array"])
def test_drafts_of_another_shape_are_refused(policy: GPT2Policy, drafts: object) -> None:
    cache = policy.make_cache(1, draft=lambda texts: drafts, rng=np.random.default_rng(0))
    first = policy.decode(padded([[1, 2]]), cache, deterministic=True).actions
    with pytest.raises(ValueError, match=r"draft must return token ids of shape \(1, K\)"):
        policy.decode(padded([[1, 2, int(first[0])]]), cache, deterministic=True)
