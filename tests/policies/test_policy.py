import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from policies import GPT2Policy
from tests.token_env import MAX_TOKENS, VOCAB_SIZE, RepeatEnv

SIZE = dict(n_layer=2, n_head=2, n_embd=8)
TOKENS = spaces.Box(0, VOCAB_SIZE - 1, (MAX_TOKENS,), np.int64)
ACTIONS = spaces.Discrete(VOCAB_SIZE)


def make_policy(**kwargs) -> GPT2Policy:
    torch.manual_seed(0)
    policy = GPT2Policy(TOKENS, ACTIONS, lambda _: 1e-3, **{**SIZE, **kwargs})
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return policy


def random_obs(n: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    obs = np.zeros((n, MAX_TOKENS), dtype=np.int64)
    for row in obs:
        length = rng.integers(1, MAX_TOKENS)
        row[:length] = rng.integers(1, VOCAB_SIZE, size=length)
    return torch.from_numpy(obs)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("value_net_arch", [(), (6, 6)])
def test_every_way_to_a_log_probability_agrees(temperature: float, value_net_arch: tuple[int, ...]) -> None:
    """forward, evaluate_actions, get_distribution, predict_values, decode and evaluate_sequences see one distribution."""
    policy = make_policy(temperature=temperature, value_net_arch=value_net_arch)
    obs = random_obs(6)
    lengths = (obs != 0).sum(dim=1)
    actions, values, log_prob = policy(obs)
    assert actions.shape == (6,)
    assert values.shape == (6, 1)
    evaluated_values, evaluated_log_prob, entropy = policy.evaluate_actions(obs, actions)
    distribution = policy.get_distribution(obs)
    mask = torch.arange(MAX_TOKENS) == lengths[:, None] - 1
    sequence_log_probs, sequence_values = policy.evaluate_sequences(obs, mask)
    sequence_log_prob = sequence_log_probs.gather(1, actions[:, None])[:, 0]
    logits = policy.language_model(obs, attention_mask=torch.ones_like(obs)).logits[torch.arange(6), lengths - 1]
    independent = torch.distributions.Categorical(logits=logits / temperature)
    for other in (evaluated_log_prob, distribution.log_prob(actions), sequence_log_prob, independent.log_prob(actions)):
        torch.testing.assert_close(other, log_prob, atol=1e-5, rtol=0)
    for other in (evaluated_values, policy.predict_values(obs), sequence_values[:, None]):
        torch.testing.assert_close(other, values, atol=1e-5, rtol=0)
    torch.testing.assert_close(entropy, independent.entropy(), atol=1e-5, rtol=0)
    decoded = policy.decode(obs.numpy(), policy.make_cache(6), deterministic=True)
    greedy, decoded_values, greedy_log_prob, logits = map(torch.from_numpy, decoded)
    assert torch.equal(greedy, independent.probs.argmax(dim=1))
    torch.testing.assert_close(torch.log_softmax(logits / temperature, 1), independent.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(decoded_values, values[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(greedy_log_prob, independent.log_prob(greedy), atol=1e-5, rtol=0)


def test_samples_follow_the_distribution() -> None:
    policy = make_policy()
    obs = random_obs(1).expand(4000, -1)
    actions = policy.decode(obs.numpy(), policy.make_cache(4000)).actions
    frequencies = torch.bincount(torch.from_numpy(actions), minlength=VOCAB_SIZE) / 4000
    expected = policy.get_distribution(obs[:1]).distribution.probs[0]
    assert (frequencies - expected).abs().max() < 5 * (0.25 / 4000) ** 0.5


def test_reference_is_frozen_in_the_state_dict_and_out_of_the_optimizer() -> None:
    policy = make_policy()
    optimized = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert all(id(p) not in optimized and not p.requires_grad for p in policy.reference.parameters())
    assert {id(p) for p in policy.parameters() if p.requires_grad} == optimized
    assert any(name.startswith("reference.") for name in policy.state_dict())
    policy.train()
    assert policy.language_model.training
    assert not policy.reference.training


def test_reference_equals_the_model_at_the_start() -> None:
    policy = GPT2Policy(TOKENS, ACTIONS, lambda _: 1e-3, **SIZE)
    obs = random_obs(5)
    mask = obs != 0
    log_probs, _ = policy.evaluate_sequences(obs, mask)
    assert torch.equal(torch.log_softmax(policy.reference_logits(obs, mask), dim=-1), log_probs)


@pytest.mark.parametrize("detach_value", [True, False])
def test_value_loss_reaches_the_trunk_only_if_asked(detach_value: bool) -> None:
    policy = make_policy(detach_value=detach_value)
    policy.predict_values(random_obs(3)).sum().backward()
    reaches = policy.language_model.transformer.wte.weight.grad is not None
    assert reaches != detach_value
    assert policy.value_net[0].weight.grad.abs().sum() > 0


def test_predict_carries_a_cache_and_needs_none() -> None:
    policy = make_policy()
    env = DummyVecEnv([RepeatEnv] * 3)
    env.seed(0)
    obs, state = env.reset(), None
    for _ in range(20):
        actions, state = policy.predict(obs, state, deterministic=True)
        assert np.array_equal(actions, policy.predict(obs, deterministic=True)[0])
        obs = env.step(actions)[0]
    action, _ = policy.predict(obs[0], deterministic=True)
    assert action.shape == ()


def test_predict_leaves_training_mode_and_walks_through_the_modules_once(monkeypatch) -> None:
    policy = make_policy()
    policy.set_training_mode(True)
    assert policy.language_model.training
    policy.predict(random_obs(1).numpy())
    assert not any(module.training for module in policy.modules())
    monkeypatch.setattr(policy, "train", lambda mode: pytest.fail("the modes were right"))
    policy.predict(random_obs(1).numpy())


def test_save_and_load_alone(tmp_path) -> None:
    policy = make_policy(temperature=1.5, value_net_arch=(4,))
    policy.save(tmp_path / "policy.pt")
    loaded = GPT2Policy.load(tmp_path / "policy.pt", device="cpu")
    assert loaded.temperature == 1.5
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_stock_sb3_runs_with_it(algorithm, tmp_path) -> None:
    kwargs = dict(n_steps=16, policy_kwargs=SIZE, seed=0, device="cpu")
    model = algorithm(GPT2Policy, DummyVecEnv([RepeatEnv] * 2), **kwargs)
    before = model.policy.language_model.transformer.wte.weight.clone()
    evaluation = EvalCallback(Monitor(RepeatEnv()), n_eval_episodes=2, eval_freq=16, verbose=0)
    model.learn(64, callback=evaluation)
    assert not torch.equal(before, model.policy.language_model.transformer.wte.weight)
    assert np.isfinite(evaluation.last_mean_reward)
    mean, _ = evaluate_policy(model, DummyVecEnv([lambda: Monitor(RepeatEnv())] * 2), n_eval_episodes=4)
    assert 0 <= mean <= MAX_TOKENS
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model")
    for name, weight in model.policy.state_dict().items():
        assert torch.equal(weight, loaded.policy.state_dict()[name]), name


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(temperature=0.0), ValueError, "temperature must be > 0"),
        (dict(pad_token_id=5), ValueError, r"pad_token_id must lie in \[0, 5\)"),
        (dict(n_embd=9), ValueError, "n_embd must be a multiple"),
        (dict(use_sde=True), ValueError, "use_sde must be False"),
        (dict(pretrained="nowhere"), ValueError, "pretrained must be one of .*'tiny' or the folder"),
        (dict(action_space=spaces.Box(0, 1, (2,))), TypeError, "action_space must be Discrete"),
        (dict(observation_space=spaces.Box(0, 1, (8,))), TypeError, "observation_space must be a Box of integers"),
        (dict(observation_space=spaces.Box(0, 5, (8,), np.int64)), ValueError, r"token ids in \[0, 5\)"),
        (dict(observation_space=spaces.Box(0, 4, (2, 8), np.int64)), ValueError, "one row of token ids"),
    ],
)
def test_bad_arguments(kwargs, error, message) -> None:
    arguments = dict(observation_space=TOKENS, action_space=ACTIONS, lr_schedule=lambda _: 1e-3, **SIZE)
    with pytest.raises(error, match=message):
        GPT2Policy(**{**arguments, **kwargs})
