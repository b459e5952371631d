import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import PrioritizedKLPPO
from agents.losses import certainty_of
from agents.weighting import named_weighting, uniform
from policies.gpt2 import build_gpt2, gpt2_config
from tests.token_env import MAX_TOKENS, PAD, VOCAB_SIZE, RepeatEnv

SIZE = dict(n_layer=1, n_head=2, n_embd=16)


def make_agent(env=None, **kwargs) -> PrioritizedKLPPO:
    env = DummyVecEnv([RepeatEnv] * 4) if env is None else env
    defaults = dict(n_episodes=8, batch_size=4, policy_kwargs=SIZE, seed=0, device="cpu")
    return PrioritizedKLPPO("GPT2Policy", env, **{**defaults, **kwargs})


class Record(KVWriter):
    """Keeps everything that is logged."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def write(self, key_values, key_excluded, step=0) -> None:
        self.rows.append(dict(key_values))

    def close(self) -> None:
        pass


def learn(agent: PrioritizedKLPPO, updates: int, reset_num_timesteps: bool = True, callbacks=()) -> list[dict[str, float]]:
    """Train for some updates; what was logged, one row an update."""
    record = Record()
    agent.set_logger(Logger(None, [record]))
    rows = []
    for update in range(updates):
        record.rows.clear()
        agent.learn(1, callback=list(callbacks), reset_num_timesteps=reset_num_timesteps and update == 0)
        rows.append({key: value for row in record.rows for key, value in row.items()})
    return rows


def reference_copy_of_a_sharp_model(agent: PrioritizedKLPPO) -> None:
    """Make policy and reference equal and far from uniform."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in agent.policy.language_model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    agent.policy.reference.load_state_dict(agent.policy.language_model.state_dict())


def test_a_rollout_is_whole_episodes() -> None:
    """What the buffer holds are complete episodes of the environment: texts, rewards and ends."""
    agent = make_agent()
    learn(agent, 1)
    buffer = agent.rollout_buffer
    assert agent.num_timesteps >= buffer.mask.sum() > 0
    for tokens, mask, actions, rewards in zip(buffer.tokens, buffer.mask, buffer.actions, buffer.rewards, strict=True):
        positions = np.flatnonzero(mask)
        assert (np.diff(positions) == 1).all()
        wanted = tokens[positions[0]]
        np.testing.assert_array_equal(tokens[positions[1:]], actions[positions[:-1]])
        np.testing.assert_array_equal(rewards[positions], actions[positions] == wanted)
        assert actions[positions[-1]] == PAD or positions[-1] + 2 == MAX_TOKENS
        assert PAD not in actions[positions[:-1]]


def test_stored_numbers_are_those_of_a_full_forward() -> None:
    agent = make_agent()
    reference_copy_of_a_sharp_model(agent)
    agent.learn(1, callback=StopBeforeUpdate())
    buffer = agent.rollout_buffer
    mask = torch.from_numpy(buffer.mask)
    log_probs, values = agent.policy.evaluate_sequences(torch.from_numpy(buffer.tokens), mask)
    log_prob = log_probs.gather(1, torch.from_numpy(buffer.actions[buffer.mask])[:, None])[:, 0]
    np.testing.assert_allclose(buffer.log_probs[buffer.mask], log_prob.detach(), atol=1e-5)
    np.testing.assert_allclose(buffer.values[buffer.mask], values.detach(), atol=1e-5)


class StopBeforeUpdate(BaseCallback):
    """Replaces the first update by nothing."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.model.train = lambda: None


def test_first_update_starts_at_ratio_one_and_kl_zero() -> None:
    agent = make_agent(batch_size=8)
    reference_copy_of_a_sharp_model(agent)
    row = learn(agent, 1)[0]
    assert row["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert row["objective/kl_per_token"] == pytest.approx(0, abs=1e-6)
    assert row["train/kl_loss"] == pytest.approx(0, abs=1e-6)
    assert row["train/approx_kl"] == pytest.approx(0, abs=1e-6)
    assert row["train/clip_fraction"] == 0
    assert row["train/policy_gradient_loss"] == pytest.approx(0, abs=1e-5)  # normalised advantages at ratio 1


@pytest.mark.parametrize("kl_estimator", ["full", "k2", "rk3"])
def test_sign_more_kl_coef_less_kl(kl_estimator: str) -> None:
    """The authors' PPO subtracts the penalty; then this fails."""
    kls = []
    for kl_coef in (0.0, 1.0, 30.0):
        agent = make_agent(kl_coef=kl_coef, kl_exponent=0.0, kl_estimator=kl_estimator, learning_rate=3e-3, n_episodes=16)
        kls.append(learn(agent, 7)[-1]["objective/kl_per_token"])
    assert kls[0] > 1.5 * kls[1] > 3 * kls[2]


@pytest.mark.parametrize("kl_estimator", ["full", "k2", "k3"])
@pytest.mark.parametrize("certainty", ["negentropy", "min_entropy", "max_prob"])
def test_loss_against_a_slow_loop(kl_estimator: str, certainty: str) -> None:
    """One full-batch update equals a loss summed token by token, each from a forward of its own prefix."""
    settings = dict(
        learning_rate=0.0,
        value_learning_rate=0.0,
        kl_coef=0.7,
        kl_exponent=3.0,
        certainty_temperature=2.0,
        ent_coef=0.1,
        vf_coef=0.3,
    )
    agent = make_agent(batch_size=8, kl_estimator=kl_estimator, certainty=certainty, **settings)
    reference_copy_of_a_sharp_model(agent)
    with torch.no_grad():
        for parameter in agent.policy.reference.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    row = learn(agent, 1)[0]
    buffer, policy = agent.rollout_buffer, agent.policy
    totals = dict.fromkeys(("surrogate", "value", "entropy", "kl", "weighted", "full"), 0.0)
    count = int(buffer.mask.sum())
    advantages = buffer.returns[buffer.mask] - buffer.values[buffer.mask]
    mean, std = advantages.mean(), advantages.std()
    for episode, position in zip(*buffer.mask.nonzero(), strict=True):
        prefix = torch.from_numpy(buffer.tokens[episode, : position + 1])[None]
        attention = torch.ones_like(prefix)
        p = policy.language_model(prefix, attention_mask=attention).logits[0, -1].log_softmax(0)
        reference_logits = policy.reference(prefix, attention_mask=attention).logits[0, -1]
        q = reference_logits.log_softmax(0)
        action = buffer.actions[episode, position]
        l = p[action] - q[action]  # noqa: E741
        full = (p.exp() * (p - q)).sum()
        kl = {"full": full, "k2": l**2 / 2, "k3": torch.exp(-l) - 1 + l}[kl_estimator]
        weight = certainty_of(reference_logits, certainty, 2.0) ** 3.0
        value = policy.value_net(policy.language_model.transformer(prefix).last_hidden_state[0, -1])[0]
        advantage = (buffer.returns[episode, position] - buffer.values[episode, position] - mean) / (std + 1e-8)
        totals["surrogate"] -= float(advantage) / count
        totals["value"] += float((value - buffer.returns[episode, position]) ** 2) / count
        totals["entropy"] -= float((p.exp() * p).sum()) / count
        totals["kl"] += float(full) / count
        totals["weighted"] += float(weight * kl) / count
        totals["full"] += float(weight * full) / count
    expected = totals["surrogate"] + 0.3 * totals["value"] - 0.1 * totals["entropy"] + 0.7 * totals["weighted"]
    assert row["train/loss"] == pytest.approx(expected, abs=2e-5)
    assert row["train/kl_loss"] == pytest.approx(totals["weighted"], abs=1e-5)
    assert row["train/value_loss"] == pytest.approx(totals["value"], abs=1e-4)
    assert row["train/entropy_loss"] == pytest.approx(-totals["entropy"], abs=1e-5)
    assert row["objective/entropy"] == pytest.approx(totals["entropy"], abs=1e-5)
    assert row["objective/kl_per_token"] == pytest.approx(totals["kl"], abs=1e-5)
    assert row["objective/kl_weighted"] == pytest.approx(totals["full"], abs=1e-5)
    assert row["objective/kl"] == pytest.approx(totals["kl"] * count / 8, abs=1e-4)


def test_wider_rows_change_no_statistic() -> None:
    """The same episodes in an environment with longer observations: same log, same weights."""

    class Wide(RepeatEnv):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = gym.spaces.Box(0, VOCAB_SIZE - 1, (3 * MAX_TOKENS,), np.int64)

        def _observation(self) -> np.ndarray:
            return np.concatenate([super()._observation(), np.full(2 * MAX_TOKENS, PAD)])

    config = gpt2_config(VOCAB_SIZE, 3 * MAX_TOKENS, pad_token_id=PAD, **SIZE).to_dict()
    rows = [
        learn(make_agent(DummyVecEnv([env] * 4), policy_kwargs=dict(config=config), learning_rate=1e-2), 3)
        for env in (RepeatEnv, Wide)
    ]
    for narrow, wide in zip(*rows, strict=True):
        for key, value in narrow.items():
            if not key.startswith("time/"):
                assert wide[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key


def test_exponent_zero_is_the_standard_penalty() -> None:
    agent = make_agent(kl_exponent=0.0)
    row = learn(agent, 2)[-1]
    assert (agent.rollout_buffer.weights["kl"][agent.rollout_buffer.mask] == 1).all()
    assert row["objective/weight_mean"] == 1
    assert row["objective/kl_weighted"] == row["objective/kl_per_token"]


def test_reference_never_moves() -> None:
    agent = make_agent(learning_rate=1e-2)
    before = {name: weight.clone() for name, weight in agent.policy.reference.state_dict().items()}
    start = agent.policy.language_model.transformer.wte.weight.clone()
    learn(agent, 2)
    assert not torch.equal(start, agent.policy.language_model.transformer.wte.weight)
    for name, weight in agent.policy.reference.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_truncated_episode_is_bootstrapped() -> None:
    agent = make_agent(DummyVecEnv([lambda: RepeatEnv(truncate_after=1)] * 4), gamma=0.5)
    with torch.no_grad():
        agent.policy.value_net[0].bias.fill_(10.0)
    agent.learn(1, callback=StopBeforeUpdate())
    buffer = agent.rollout_buffer
    hits = buffer.actions[buffer.mask] == buffer.tokens[buffer.mask]
    cut = buffer.actions[buffer.mask] != PAD
    assert cut.sum() > 0
    np.testing.assert_allclose(buffer.rewards[buffer.mask], hits + 0.5 * 10.0 * cut)


def test_lanes_that_are_done_are_not_counted() -> None:
    agent = make_agent(n_episodes=4)
    agent.learn(1, callback=StopBeforeUpdate())
    assert agent.num_timesteps == agent.rollout_buffer.mask.sum()
    assert agent.episodes_done == 4


def test_same_seed_same_run() -> None:
    first, second = (learn(make_agent(seed=3), 2) for _ in range(2))
    other = learn(make_agent(seed=4), 2)
    without_time = [
        [{k: v for k, v in row.items() if not k.startswith("time")} for row in run] for run in (first, second, other)
    ]
    assert str(without_time[0]) == str(without_time[1]) != str(without_time[2])


def test_gymnasium_environments_of_every_kind() -> None:
    vector = SyncVectorEnv([RepeatEnv] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    logs = [learn(make_agent(env), 2)[-1] for env in (vector, DummyVecEnv([lambda: Monitor(RepeatEnv())] * 4))]
    assert logs[0]["train/loss"] == pytest.approx(logs[1]["train/loss"], abs=1e-6)
    assert logs[0]["rollout/ep_rew_mean"] > 0
    learn(make_agent(RepeatEnv(), n_episodes=2, batch_size=2), 1)
    learn(make_agent("addition_gym:ScratchpadAdd-v0", n_episodes=1, batch_size=1), 1)


def test_saved_agent_stands_alone_and_goes_on(tmp_path) -> None:
    """It loads where the pre-trained folder is gone, continues with the same optimizer state, and keeps its reference."""
    config = gpt2_config(VOCAB_SIZE, MAX_TOKENS, pad_token_id=PAD, **SIZE)
    build_gpt2(config).save_pretrained(tmp_path / "pretrained")
    kwargs = dict(pretrained=tmp_path / "pretrained", value_net_arch=(4,), temperature=1.3)
    agent = make_agent(policy_kwargs=kwargs, kl_coef=0.5, kl_exponent=2.0, learning_rate=1e-2)
    learn(agent, 2)
    agent.save(tmp_path / "agent")
    shutil.rmtree(tmp_path / "pretrained")
    loaded = PrioritizedKLPPO.load(tmp_path / "agent", env=DummyVecEnv([RepeatEnv] * 4), device="cpu")
    for name, weight in agent.policy.state_dict().items():
        assert torch.equal(weight, loaded.policy.state_dict()[name]), name
    assert (loaded.kl_coef, loaded.policy.temperature) == (0.5, 1.3)
    assert loaded.weighting == named_weighting("prioritized", 2.0)
    saved, restored = (a.policy.optimizer.state_dict()["state"] for a in (agent, loaded))
    assert all(torch.equal(saved[i]["exp_avg"], restored[i]["exp_avg"]) for i in saved)
    rows = learn(loaded, 1, reset_num_timesteps=False)
    assert rows[0]["objective/kl"] > 0
    assert loaded.num_timesteps > agent.num_timesteps
    obs = RepeatEnv().reset(seed=0)[0]
    assert PrioritizedKLPPO.load(tmp_path / "agent").predict(obs, deterministic=True)[0].shape == ()


def test_set_env_and_sb3_callbacks(tmp_path) -> None:
    agent = make_agent()
    agent.set_env(DummyVecEnv([RepeatEnv] * 4))
    evaluation = EvalCallback(Monitor(RepeatEnv()), n_eval_episodes=3, eval_freq=5, verbose=0)
    learn(agent, 2, callbacks=[evaluation, CheckpointCallback(5, str(tmp_path))])
    assert np.isfinite(evaluation.last_mean_reward)
    assert list(tmp_path.glob("rl_model_*_steps.zip"))
    mean, _ = evaluate_policy(agent, DummyVecEnv([lambda: Monitor(RepeatEnv())] * 2), n_eval_episodes=4)
    assert mean >= 0


def test_value_head_has_its_own_learning_rate() -> None:
    agent = make_agent(learning_rate=lambda progress: 1e-3 + progress, value_learning_rate=0.5)
    learn(agent, 1)
    rates = {group["name"]: group["lr"] for group in agent.policy.optimizer.param_groups}
    assert rates == {"policy": 1e-3, "value": 0.5}  # the rollout went beyond the end: progress is 0, not negative
    same = make_agent(learning_rate=0.25, value_learning_rate=None)
    learn(same, 1)
    assert {group["lr"] for group in same.policy.optimizer.param_groups} == {0.25}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(kl_estimator="k1"), ValueError, "kl_estimator must not be 'k1'"),
        (dict(kl_estimator="kl"), ValueError, "kl_estimator must be one of full, k2, k3"),
        (dict(certainty="entropy"), ValueError, "certainty must be one of"),
        (dict(weighting="priority"), ValueError, "weighting must be one of prioritized, .*, but it is 'priority'"),
        (dict(weighting=uniform()), ValueError, r"weighting must be one of .*, but it is Weighting\(.* make a TokenWeights"),
        (dict(n_episodes=6), ValueError, "n_episodes must be a multiple of the environment's lanes, 4, but it is 6"),
        (dict(n_episodes=0), ValueError, "n_episodes must be >= 1"),
        (dict(n_episodes=4.0), TypeError, "n_episodes must be an int"),
        (dict(batch_size=9), ValueError, "batch_size must be at most n_episodes = 8"),
        (dict(n_epochs=0), ValueError, "n_epochs must be >= 1"),
        (dict(kl_coef=-1.0), ValueError, "kl_coef must be >= 0"),
        (dict(kl_exponent=float("nan")), ValueError, "kl_exponent must be >= 0"),
        (dict(kl_coef=float("inf")), ValueError, "kl_coef must be >= 0 and finite"),
        (dict(vf_coef=float("nan")), ValueError, "vf_coef must be >= 0 and finite"),
        (dict(ent_coef=float("nan")), ValueError, "ent_coef must be >= 0 and finite"),
        (dict(clip_range=-1.0), ValueError, "clip_range must be >= 0"),
        (dict(learning_rate=float("inf")), ValueError, "learning_rate must be >= 0 and finite"),
        (dict(value_learning_rate=-1.0), ValueError, "value_learning_rate must be >= 0"),
        (dict(policy_kwargs=dict(value_net_arch=(0,))), ValueError, "value_net_arch must .*>= 1"),
        (dict(kl_coef="2"), TypeError, "kl_coef must be a number, but it is '2'"),
        (dict(kl_target=0.5, kl_horizon=3), ValueError, "kl_horizon must be >= 8"),
        (dict(kl_coef=lambda progress: progress, kl_target=0.5), ValueError, "kl_coef must be a number with kl_target"),
        (dict(max_grad_norm=0.0), ValueError, "max_grad_norm must be > 0"),
        (dict(certainty_temperature=0.0), ValueError, "certainty_temperature must be > 0"),
        (dict(gamma=1.5), ValueError, r"gamma must lie in \[0, 1\]"),
        (dict(policy_kwargs=dict(pretrained="nowhere")), ValueError, "pretrained must be one of .*'tiny' or the folder"),
        (
            dict(policy_kwargs=dict(pretrained=torch.nn.Linear(2, 2))),
            TypeError,
            "pretrained must be 'tiny', 'seven' or a folder, but it is a Linear: write a model",
        ),
    ],
)
def test_bad_arguments(kwargs, error, message) -> None:
    with pytest.raises(error, match=message):
        make_agent(**kwargs)


def test_no_environment() -> None:
    with pytest.raises(ValueError, match="env must be a token-level environment or its id, but it is None"):
        PrioritizedKLPPO("GPT2Policy", None)


@pytest.mark.slow
def test_learns_to_repeat() -> None:
    """From random weights the reward of an episode rises from about 0.7 (random) to more than 3 (best: about 5)."""
    agent = make_agent(
        DummyVecEnv([lambda: Monitor(RepeatEnv())] * 16),
        n_episodes=64,
        batch_size=16,
        n_epochs=2,
        learning_rate=3e-3,
        kl_coef=0.0,
    )
    rows = learn(agent, 40)
    assert rows[0]["rollout/ep_rew_mean"] < 1.5
    assert rows[-1]["rollout/ep_rew_mean"] > 3


def test_learning_ends_with_the_rollout_that_reaches_the_episodes() -> None:
    agent = make_agent()
    agent.learn(10**9, total_episodes=9)
    assert (agent.episodes_done, agent.updates_done) == (16, 2)
    agent.learn(10**9, reset_num_timesteps=False, total_episodes=16)
    assert agent.episodes_done == 16, "nothing is left to play"


def test_forward_kl_is_that_of_the_reference_to_the_policy() -> None:
    """Against PyTorch's own KL, on the logits that the rollout kept."""
    agent = make_agent(batch_size=8, kl_coef=0.0)
    with torch.no_grad():
        for parameter in agent.policy.language_model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    logged = learn(agent, 1)[0]
    tokens = agent.rollout_buffer.token_batch(temperature=1.0)
    policy, reference = (logits[tokens.mask].log_softmax(-1) for logits in (tokens.old_logits, tokens.reference_logits))
    for name, to, of in (("kl", reference, policy), ("forward_kl", policy, reference)):
        wanted = torch.nn.functional.kl_div(to, of, reduction="sum", log_target=True).item() / 8
        assert logged[f"objective/{name}"] == pytest.approx(wanted, rel=1e-4)
