import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import addition_gym
from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, ScratchpadAddEnv, decode, encode, prompt, solution
from addition_gym.episode import longest_digits
from tests.addition_gym.helpers import PROMPT, SOLUTION, few, fragments, mutate, write

OPERANDS = {"operands": (345, 67)}
NEWLINE = int(encode("\n")[0])


def started(**arguments) -> ScratchpadAddEnv:
    """An environment that asks for 345+67."""
    env = ScratchpadAddEnv(**{"digits": 3} | arguments)
    env.reset(seed=0, options=OPERANDS)
    return env


def write_again(env: ScratchpadAddEnv, completion: str) -> tuple:
    env.reset(options=OPERANDS)
    return write(env, completion)


ARGUMENTS = [
    {},
    {"digits": 1, "distribution": "identical"},
    {"digits": 3, "reward": "signed", "split": "test", "render_mode": "ansi"},
    {"render_mode": "rgb_array"},
]


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_the_checkers_have_nothing_to_say(check, wrapped, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if wrapped:
            warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        env = gym.make("ScratchpadAdd-v0", **arguments)
        check(env if wrapped else env.unwrapped)


@pytest.mark.parametrize("name", ["ScratchpadAdd-v0", "addition_gym:ScratchpadAdd-v0"])
def test_make_passes_the_arguments_on(name):
    env = gym.make(name, digits=2, distribution="identical", reward="signed", max_tokens=300)
    assert isinstance(env.unwrapped, ScratchpadAddEnv)
    assert env.observation_space == gym.spaces.Box(0, 40, (300,), np.int64)
    assert env.action_space == gym.spaces.Discrete(41)
    assert env.spec.kwargs["digits"] == 2
    _, info = env.reset(seed=0)
    assert all(10 <= x <= 99 for x in info["operands"])
    assert env.step(PAD_TOKEN_ID)[1] == -1


def run_python(program: str) -> str:
    """What a fresh interpreter prints."""
    folder = Path(addition_gym.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout


def test_the_task_loads_no_deep_learning():
    loaded = run_python(
        "import sys, addition_gym, gymnasium as gym\n"
        "gym.make('ScratchpadAdd-v0').reset()\n"
        "gym.make_vec('ScratchpadAdd-v0', num_envs=2).reset()\n"
        "print(*sys.modules)"
    ).split()
    assert "addition_gym.vector_env" in loaded
    others = {"torch", "stable_baselines3", "sb3_contrib", "transformers", "policies", "agents", "train"}
    assert others.isdisjoint(loaded)


def test_make_imports_the_package_by_name():
    program = "import gymnasium as gym; print(gym.make('addition_gym:ScratchpadAdd-v0').reset(seed=0)[1])"
    assert "operands" in run_python(program)


def test_reset_shows_the_prompt_padded_right():
    env = ScratchpadAddEnv(digits=3)
    obs, info = env.reset(options=OPERANDS)
    assert info == OPERANDS
    assert obs.dtype == np.int64
    assert obs.shape == (env.max_tokens,)
    assert decode(obs[: len(PROMPT)]) == PROMPT
    assert (obs[len(PROMPT) :] == PAD_TOKEN_ID).all()


@pytest.mark.parametrize(
    ("operands", "expected"),
    [((99, 0), "short+short"), ((100, 99), "long+short"), ((7, 123), "short+long"), ((100, 999), "long+long")],
)
def test_the_class_says_which_operands_are_longer_than_n(operands, expected):
    env = ScratchpadAddEnv(digits=3)
    env.reset(options={"operands": operands})
    assert env.step(PAD_TOKEN_ID)[4]["problem_class"] == expected


def test_the_solution_is_rewarded():
    env = started()
    obs, reward, terminated, truncated, info = write(env, SOLUTION)
    assert reward == 1
    assert type(reward) is float
    assert terminated is True
    assert truncated is False
    critical_tokens = info.pop("critical_tokens")
    assert "".join(info["text"][index] for index in critical_tokens) == ",5,43"
    assert info == {
        "is_success": True,
        "operands": (345, 67),
        "expected": "4 1 2",
        "answer": "4 1 2",
        "text": PROMPT + SOLUTION,
        "first_error": -1,
        "problem_class": "long+short",
    }
    assert type(info["is_success"]) is bool
    assert decode(obs) == PROMPT + SOLUTION


@pytest.mark.parametrize(("written", "expected"), [("[3,4]", ","), ("[3,4,6]", ",5"), ("[3,4,5] + [7", ",5"), ("[4", "")])
def test_critical_tokens_up_to_the_first_error(written, expected):
    env = started()
    completion = SOLUTION[: SOLUTION.index("[")] + written
    for token in encode(completion):
        env.step(token)
    _, _, terminated, _, info = env.step(PAD_TOKEN_ID)
    assert terminated
    offset = len(PROMPT)
    assert "".join(SOLUTION[index - offset] for index in info["critical_tokens"]) == expected


def test_every_step_shows_the_text_so_far_and_pays_nothing():
    env = started()
    for index, token in enumerate(encode(SOLUTION[:-1])):
        obs, reward, terminated, truncated, info = env.step(token)
        assert obs in env.observation_space
        assert decode(obs) == PROMPT + SOLUTION[: index + 1]
        assert (obs[len(PROMPT) + index + 1 :] == PAD_TOKEN_ID).all()
        assert (reward, terminated, truncated, info) == (0, False, False, {})


@pytest.mark.parametrize(("kind", "failure"), [("binary", 0), ("signed", -1)])
def test_a_wrong_result_line_is_not_rewarded(kind, failure):
    env = started(reward=kind)
    wrong = SOLUTION[:-2] + "3\n"
    _, reward, _, truncated, info = write(env, wrong)
    assert reward == failure
    assert truncated is False
    assert info["is_success"] is False
    assert info["answer"] == "4 1 3"
    assert info["first_error"] == len(SOLUTION) - 2
    assert write_again(env, SOLUTION)[1] == 1


@pytest.mark.parametrize(("kind", "failure"), [("binary", 0), ("signed", -1)])
def test_padding_ends_the_episode(kind, failure):
    env = started(reward=kind)
    for token in encode(SOLUTION[:30]):
        env.step(token)
    obs, reward, terminated, truncated, info = env.step(PAD_TOKEN_ID)
    assert (reward, terminated, truncated) == (failure, True, False)
    assert info["answer"] is None
    assert info["is_success"] is False
    assert info["text"] == decode(obs) == PROMPT + SOLUTION[:30]
    assert info["first_error"] == 30


@pytest.mark.parametrize(("kind", "failure"), [("binary", 0), ("signed", -1)])
def test_the_spent_budget_terminates_and_never_truncates(kind, failure):
    env = started(reward=kind)
    obs, reward, terminated, truncated, info = write(env, "\n" * (env.max_tokens - len(PROMPT)))
    assert (reward, terminated, truncated) == (failure, True, False)
    assert (obs != PAD_TOKEN_ID).all()
    assert info["answer"] is None
    assert info["first_error"] == 1


def test_only_the_result_line_is_judged():
    _, reward, _, _, info = write(started(), "\n</scratch>\n4 1 2\n")
    assert reward == 1
    assert info["is_success"] is True
    assert info["first_error"] == SOLUTION.index("<") + 1


def test_the_result_line_is_the_first_after_the_closing_line():
    assert write(started(), "\n</scratch>\n\n")[4]["answer"] == ""
    assert write(started(), "\n</scratch>\n</scratch>\n")[4]["answer"] == "</scratch>"


@few
@given(fragments)
def test_an_episode_ends_where_its_text_says(completion):
    """The first line break after a line ``</scratch>``, else the padding that follows."""
    env, written = started(), ""
    for character in completion + "\0":
        action = PAD_TOKEN_ID if character == "\0" else encode(character)[0]
        written += character.strip("\0")
        lines = (PROMPT + written).split("\n")
        answered = "</scratch>" in lines[:-2] and character == "\n"
        _, reward, terminated, _, info = env.step(action)
        assert terminated == (answered or character == "\0")
        if terminated:
            right = answered and lines[lines.index("</scratch>") + 1] == "4 1 2"
            assert (reward, info["is_success"]) == (float(right), right)
            break


@pytest.mark.parametrize("digits", [1, 2, 5])
def test_the_smallest_budget_fits_the_longest_problem(digits):
    nines = 10**digits - 1
    longest = len(prompt(nines, nines) + solution(nines, nines))
    env = ScratchpadAddEnv(digits, "identical", max_tokens=longest)
    env.reset(options={"operands": (nines, nines)})
    assert write(env, solution(nines, nines))[1] == 1
    assert ScratchpadAddEnv(digits, "identical").max_tokens == longest + 16
    with pytest.raises(ValueError, match=rf"^max_tokens must be >= {longest}.*{longest - 1}"):
        ScratchpadAddEnv(digits, "identical", max_tokens=longest - 1)


def test_returned_observations_are_fresh():
    env = started()
    obs, _ = env.reset(options=OPERANDS)
    obs[:] = NEWLINE
    stepped, *_ = env.step(encode("\n")[0])
    assert decode(stepped) == PROMPT + "\n"
    kept = stepped.copy()
    env.step(encode("<")[0])
    assert (stepped == kept).all()
    stepped[:] = NEWLINE
    assert decode(env.step(encode("s")[0])[0]) == PROMPT + "\n<s"


def test_reset_in_the_middle_starts_over():
    env = started()
    env.step(encode("\n")[0])
    obs, _ = env.reset(options={"operands": (1, 2)})
    assert decode(obs) == prompt(1, 2)
    assert write(env, solution(1, 2))[1] == 1


def test_operands_may_come_from_numpy_and_be_longer_than_digits():
    env = ScratchpadAddEnv(digits=3, max_tokens=400)
    _, info = env.reset(options={"operands": np.array([1234, 5])})
    assert info == {"operands": (1234, 5)}
    assert all(type(x) is int for x in info["operands"])
    assert write(env, solution(1234, 5))[1] == 1


def problems(env: ScratchpadAddEnv, count: int) -> list[tuple[int, int]]:
    return [env.reset()[1]["operands"] for _ in range(count)]


def test_reset_without_seed_goes_on_in_the_stream():
    env, twin = ScratchpadAddEnv(), ScratchpadAddEnv()
    env.reset(seed=3)
    stream = problems(env, 6)
    assert len(set(stream)) == 6
    twin.reset(seed=3)
    for operands in stream:
        twin.step(NEWLINE)
        assert twin.reset()[1]["operands"] == operands
    env.reset(seed=3)
    assert problems(env, 6) == stream
    env.reset(seed=4)
    assert problems(env, 6) != stream


def test_given_operands_take_nothing_from_the_stream():
    env = ScratchpadAddEnv()
    env.reset(seed=3)
    stream = problems(env, 2)
    env.reset(seed=3)
    env.reset(options=OPERANDS)
    assert problems(env, 2) == stream


def test_the_mixture_defaults_to_one_digit_more_than_pretraining():
    """The other operand is then a longest one half of the time; with N=1 a quarter of the time."""
    env = ScratchpadAddEnv(digits=3)
    env.reset(seed=0)
    both_long = np.mean([min(pair) >= 100 for pair in problems(env, 2000)])
    assert 0.46 < both_long < 0.54


def test_ansi_renders_the_text_so_far():
    env = started(render_mode="ansi")
    assert env.render() == PROMPT
    for token in encode(SOLUTION[:40]):
        env.step(token)
    assert env.render() == PROMPT + SOLUTION[:40]
    write_again(env, SOLUTION)
    assert env.render() == PROMPT + SOLUTION


def test_human_prints_the_text_as_it_grows(capsys):
    env = started(render_mode="human")
    assert capsys.readouterr().out == PROMPT
    env.step(encode("\n")[0])
    env.step(encode("<")[0])
    assert capsys.readouterr().out == "\n<"
    write_again(env, SOLUTION)
    assert capsys.readouterr().out == PROMPT + SOLUTION
    assert env.render() is None


def test_without_a_mode_nothing_is_printed(capsys):
    env = started()
    write_again(env, SOLUTION)
    assert env.render() is None
    assert capsys.readouterr().out == ""


def test_every_token_is_legal():
    masks = started().action_masks()
    assert masks.dtype == np.bool_
    assert masks.shape == (VOCAB_SIZE,)
    assert masks.all()


@few
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_first_error_points_into_the_text(problem_seed, seed):
    env = ScratchpadAddEnv(digits=2)
    a, b = env.reset(seed=problem_seed)[1]["operands"]
    mutant = mutate(solution(a, b), np.random.default_rng(seed))
    for token in [*encode(mutant), PAD_TOKEN_ID]:
        *_, terminated, _, info = env.step(token)
        if terminated:
            break
    completion = info["text"].removeprefix(prompt(a, b))
    assert mutant.startswith(completion)
    index = info["first_error"]
    assert completion[:index] == solution(a, b)[:index]
    assert completion[index : index + 1] != solution(a, b)[index : index + 1]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("digits", 0, ValueError),
        ("digits", -2, ValueError),
        ("digits", 2.5, TypeError),
        ("digits", "6", TypeError),
        ("digits", None, TypeError),
        ("pretrained_digits", 0, ValueError),
        ("pretrained_digits", 3, ValueError),
        ("pretrained_digits", 1.5, TypeError),
        ("distribution", "gauss", ValueError),
        ("split", "dev", ValueError),
        ("reward", "dense", ValueError),
        ("reward", None, ValueError),
        ("max_tokens", 0, ValueError),
        ("max_tokens", 50, ValueError),
        ("max_tokens", 500.0, TypeError),
        ("max_tokens", True, TypeError),
        ("render_mode", "depth_array", ValueError),
    ],
)
def test_a_bad_argument_is_named(name, value, error):
    with pytest.raises(error, match=rf"^{name} must") as caught:
        ScratchpadAddEnv(**{"digits": 3} | {name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("action", [-1, VOCAB_SIZE, 10**6, 1.0, np.float64(3), "1", None, np.array([1, 2])])
def test_a_bad_action_is_refused_and_changes_nothing(action):
    env = started()
    with pytest.raises((TypeError, ValueError), match=r"^action must"):
        env.step(action)
    assert write(env, SOLUTION)[1] == 1


@pytest.mark.parametrize("action", [1, np.int64(1), np.int32(1), np.array(1)])
def test_integers_of_every_kind_are_actions(action):
    assert decode(started().step(action)[0]) == PROMPT + "\n"


@pytest.mark.parametrize("make", [lambda: ScratchpadAddEnv(), lambda: gym.make("ScratchpadAdd-v0")])
def test_step_needs_an_episode(make):
    env = make()
    with pytest.raises(ValueError, match=r"^step needs a running episode.*reset"):
        env.step(1)
    env.reset()
    env.step(PAD_TOKEN_ID)
    with pytest.raises(ValueError, match=r"^step needs a running episode.*reset"):
        env.step(1)
    env.reset()
    env.step(1)


@pytest.mark.parametrize(
    ("operands", "error"),
    [
        ((-1, 2), ValueError),
        ((1, -2), ValueError),
        ((10**6, 10**6), ValueError),
        ((1.0, 2), TypeError),
        ((1, "2"), TypeError),
        ((True, 2), TypeError),
        ((1, 2, 3), TypeError),
        ((1,), TypeError),
        (5, TypeError),
    ],
)
def test_bad_operands_are_refused(operands, error):
    env = ScratchpadAddEnv(digits=3)
    with pytest.raises(error, match=r"^operands? .*must"):
        env.reset(options={"operands": operands})


def test_a_problem_that_does_not_fit_names_the_budget():
    env = ScratchpadAddEnv(digits=1, distribution="identical")
    with pytest.raises(ValueError, match=rf"^operands must .* max_tokens = {env.max_tokens} .*1234567\+1"):
        env.reset(options={"operands": (1234567, 1)})


@pytest.mark.parametrize("options", [{"operand": (1, 2)}, {"operands": (1, 2), "seed": 1}])
def test_unknown_options_are_refused(options):
    unknown = next(key for key in options if key != "operands")
    with pytest.raises((TypeError, ValueError), match=rf"^options must .*'{unknown}'"):
        ScratchpadAddEnv().reset(options=options)


def test_empty_options_mean_none():
    _, info = ScratchpadAddEnv().reset(seed=5, options={})
    assert info == ScratchpadAddEnv().reset(seed=5)[1]


@pytest.mark.parametrize("env_id", ["ScratchpadAdd-v0", "vector"])
@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (-(10**5000), ValueError), (1.5, TypeError), ("1", TypeError), ({}, TypeError)],
    ids=["negative", "long", "float", "text", "dict"],
)
def test_what_is_not_a_seed(env_id, seed, error):
    env = gym.make_vec("ScratchpadAdd-v0") if env_id == "vector" else gym.make(env_id)
    with pytest.raises(error, match="seed must be"):
        env.reset(seed=seed)
    if env_id == "vector":
        with pytest.raises(error, match="seed must be"):
            env.reset(seed=[seed])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(max_tokens=2**28 + 1), r"num_envs \* max_tokens must be at most 268435456, .* but it is 1 \* 268435457"),
        (dict(max_tokens=10**5000), r"but it is 1 \* a number of more than 1000 digits: lower"),
        (dict(num_envs=10**9), r"num_envs \* max_tokens must be at most 268435456, .* but it is 1000000000 \* "),
        (dict(digits=10**9), "digits must be at most 1000"),
        (dict(reward=10**5000), "reward must be one of binary, signed, but it is a number of more than 1000 digits"),
    ],
)
def test_sizes_are_checked_before_memory_is_taken(arguments, message):
    make = gym.make_vec if "num_envs" in arguments else gym.make
    with pytest.raises(ValueError, match=message):
        make("ScratchpadAdd-v0", **arguments)


def test_longest_digits_by_trying_environments() -> None:
    """Every number of positions from just enough for one digit to just enough for six."""
    needed = {digits: ScratchpadAddEnv(digits=digits, distribution="identical").max_tokens for digits in range(1, 8)}
    assert needed[1] < needed[6]
    for max_tokens in range(needed[1] - 1, needed[6] + 1):
        fitting = [digits for digits, tokens in needed.items() if tokens <= max_tokens]
        assert longest_digits(max_tokens) == max(fitting, default=0)
