"""Cases against the task: checker, vocabulary, environments."""

from typing import Any

import gymnasium as gym
import numpy as np

from addition_gym import (
    PAD_TOKEN_ID,
    VOCAB_SIZE,
    ScratchpadAddEnv,
    ScratchpadAddVectorEnv,
    decode,
    encode,
    errors,
    prompt,
    scratchpad,
    solution,
)
from addition_gym.vocabulary import CHARACTERS
from tests.fuzz import mutations, oracle
from tests.fuzz.documented import UndocumentedError, check, refused

CONSTRUCTOR = ("digits", "distribution", "pretrained_digits", "split", "reward", "max_tokens", "render_mode")
BAD_ACTIONS: tuple[Any, ...] = (
    -1,
    VOCAB_SIZE,
    10**30,
    10**5000,
    1.5,
    "a",
    None,
    [1],
    np.array([1, 2]),
    np.float64(1),
    b"",
    float("nan"),
)


def checker(rng: np.random.Generator) -> None:
    """A mutated completion: all that the package says about it is what the oracle says."""
    a, b = mutations.operand(rng), mutations.operand(rng)
    tokens = oracle.tokens_of_solution(str(a), str(b))
    right = "".join(token.character for token in tokens)
    check(solution(a, b), right, "solution")
    other = solution(a + 1, b) if rng.random() < 0.5 else solution(b, a)
    completion = mutations.text(rng, right, other)
    answer = oracle.answer_of(completion, prompt(a, b))
    check(scratchpad.answer(completion), answer, "answer")
    check(scratchpad.is_correct(completion, a, b), answer == right.split("\n")[-2], "is_correct")
    check(scratchpad.first_error(completion, a, b), oracle.first_difference(completion, right), "first_error")
    max_tokens = len(prompt(a, b) + completion) + int(rng.integers(2)) if rng.random() < 0.5 else None
    error = errors.completion_error(completion, a, b, max_tokens)
    category = None if error is None else error.category.value
    check(category, oracle.category_of(completion, tokens, prompt(a, b), max_tokens), "category")
    if error is not None:
        position = oracle.first_difference(completion, right)
        expected = (position, right[position], completion[position : position + 1])
        check(tuple(error[1:]), expected, "completion_error")


def vocabulary(rng: np.random.Generator) -> None:
    """Texts and ids of any kind: a round trip, or an error."""
    text = "".join(mutations.pick(rng, (*CHARACTERS, *CHARACTERS, mutations.pick(rng, mutations.STRANGE))) for _ in range(20))
    if not refused(("text",), encode, text):
        check(decode(encode(text)), text, "decode of encode")
    elif set(text) <= set(CHARACTERS):
        raise UndocumentedError(f"encode refused {text!r}")
    refused(("text",), encode, mutations.pick(rng, mutations.HOSTILE))
    refused(("tokens",), decode, mutations.pick(rng, mutations.HOSTILE))
    refused(("operand",), solution, mutations.pick(rng, mutations.HOSTILE), mutations.pick(rng, mutations.HOSTILE))
    refused(("tokens",), decode, rng.integers(-1, VOCAB_SIZE + 1, size=rng.integers(1, 4, size=rng.integers(1, 3))))


def options(rng: np.random.Generator) -> None:
    """Hostile arguments of the constructors, and of ``reset`` where they are taken."""
    keywords = {name: mutations.pick(rng, mutations.HOSTILE) for name in CONSTRUCTOR if rng.random() < 0.15}
    make: Any = ScratchpadAddEnv
    if rng.random() < 0.5:
        make, keywords["num_envs"] = ScratchpadAddVectorEnv, mutations.pick(rng, mutations.HOSTILE)
    if refused(tuple(keywords), make, **keywords):
        return
    env = make(**keywords)
    try:
        seed, problem, a, b = (mutations.pick(rng, mutations.HOSTILE) for _ in range(4))
        refused(("seed", "options", "operand"), env.reset, seed=seed, options=problem)
        refused(("seed", "operand"), env.reset, seed=seed, options={"operands": problem})
        refused(("operand",), env.reset, options={"operands": [(a, b)] if make is ScratchpadAddVectorEnv else (a, b)})
    finally:
        env.close()


def problem_of(rng: np.random.Generator) -> tuple[int, int]:
    """One that fits into the environments below."""
    return int(rng.integers(1000)), int(rng.integers(1000))


def writing(rng: np.random.Generator, operands: tuple[int, int]) -> list[int]:
    """Tokens to write: a mutated completion, noise after it, and sometimes padding."""
    a, b = operands
    text = mutations.text(rng, solution(a, b), solution(b, a + 1))
    tokens = [int(encode(character)[0]) for character in text if character in CHARACTERS]
    noise = rng.integers(0 if rng.random() < 0.3 else 1, VOCAB_SIZE, size=400).tolist()
    return tokens + noise


class Lane:
    """What the oracle says of one episode."""

    def __init__(self, operands: tuple[int, int], max_tokens: int, failure: float):
        self.operands, self.max_tokens, self.failure = operands, max_tokens, failure
        self.prompt = f"Input:\n{operands[0]}+{operands[1]}\nTarget:"
        self.completion = ""
        self.reader = oracle.Reader(self.prompt)
        self.length = len(self.prompt)

    def write(self, token: int) -> bool:
        """Whether the episode ends with this token."""
        self.length += 1
        ended = False
        if token != PAD_TOKEN_ID:
            character = (" " + CHARACTERS)[token]
            self.completion += character
            ended = self.reader.read(character)
        return ended or token == PAD_TOKEN_ID or self.length == self.max_tokens

    def judge(self, reward: float, info: dict[str, Any]) -> None:
        """Hold the last step against the oracle."""
        right = "".join(token.character for token in oracle.tokens_of_solution(*map(str, self.operands)))
        expected = right.split("\n")[-2]
        success = self.reader.answer == expected
        check(float(reward), 1.0 if success else self.failure, "reward")
        check(bool(info["is_success"]), success, "is_success")
        check(info["answer"], self.reader.answer, "answer")
        check(info["expected"], expected, "expected")
        check(info["text"], self.prompt + self.completion, "text")
        check(int(info["first_error"]), oracle.first_difference(self.completion, right), "first_error")


def environment(rng: np.random.Generator) -> None:
    """One episode of the scalar environment, with refused actions in between."""
    reward = mutations.pick(rng, ("binary", "signed"))
    env = gym.make("ScratchpadAdd-v0", digits=3, distribution="up_to", reward=reward).unwrapped
    assert isinstance(env, ScratchpadAddEnv)
    obs, info = env.reset(seed=int(rng.integers(2**31)), options={"operands": problem_of(rng)})
    lane = Lane(info["operands"], env.max_tokens, 0.0 if reward == "binary" else -1.0)
    for token in writing(rng, info["operands"]):
        if rng.random() < 0.02 and not refused(("action",), env.step, mutations.pick(rng, BAD_ACTIONS)):
            raise UndocumentedError("a bad action was taken")
        obs, value, terminated, truncated, info = env.step(token)
        check((terminated, truncated), (lane.write(token), False), "terminated, truncated")
        if terminated or rng.random() < 0.1:
            check(decode(obs), lane.prompt + lane.completion, "observation")
        if terminated:
            lane.judge(value, info)
            if not refused(("step",), env.step, 1):
                raise UndocumentedError("a step was taken after the end")
            return
    raise UndocumentedError("the episode never ended")


def vector_environment(rng: np.random.Generator) -> None:
    """Several lanes, each with its own writer, through several episodes."""
    n = int(rng.integers(1, 5))
    envs = ScratchpadAddVectorEnv(n, digits=3, distribution="varying", reward="signed")
    problems = [problem_of(rng) for _ in range(n)]
    envs.reset(seed=int(rng.integers(2**31)), options={"operands": problems})
    lanes = [Lane(problem, envs.max_tokens, -1.0) for problem in problems]
    writers = [writing(rng, problem) for problem in problems]
    for _ in range(100):
        if rng.random() < 0.02 and not refused(("actions",), envs.step, mutations.pick(rng, BAD_ACTIONS[:7])):
            raise UndocumentedError("bad actions were taken")
        actions = np.array([writer.pop(0) for writer in writers])
        obs, rewards, terminations, truncations, infos = envs.step(actions)
        check(truncations.any().item(), False, "truncations")
        for row, lane in enumerate(lanes):
            check(bool(terminations[row]), lane.write(int(actions[row])), "terminations")
            if not terminations[row]:
                if rng.random() < 0.1:
                    check(decode(obs[row]), lane.prompt + lane.completion, "observation")
                continue
            check(decode(infos["final_obs"][row]), lane.prompt + lane.completion, "final_obs")
            lane.judge(rewards[row], {key: values[row] for key, values in infos["final_info"].items()})
            operands = tuple(map(int, infos["operands"][row]))
            check(decode(obs[row]), prompt(*operands), "observation of the next episode")
            lanes[row], writers[row] = Lane(operands, envs.max_tokens, -1.0), writing(rng, operands)
