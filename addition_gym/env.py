"""``ScratchpadAdd-v0``: the scratchpad addition task as a Gymnasium environment, one token per step."""

from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from addition_gym import scratchpad
from addition_gym.checks import one_of, shown
from addition_gym.drafts import draft
from addition_gym.episode import (
    DEFAULT_DIGITS,
    Reward,
    Tokens,
    check_completion,
    check_options,
    check_problem,
    check_seed,
    end_of_episode,
    failure_reward,
    make_sampler,
    resolve_max_tokens,
    token_space,
)
from addition_gym.picture import picture
from addition_gym.problems import Distribution, Split
from addition_gym.vocabulary import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode


class ScratchpadAddEnv(gym.Env[Tokens, np.int64]):
    """Add two numbers on a scratchpad, one character token at a time; only the final answer is rewarded.

    ## Description
    The model is given a prompt such as ``Input:\\n345+67\\nTarget:`` and must write a worked scratchpad and the result:

        <scratch>
        [3,4,5] + [6,7] , A=[] , C=0 , 5+7+0=12 , A->2 , C->1
        [3,4] + [6] , A=[2] , C=1 , 4+6+1=11 , A->1 , C->1
        [3] + [] , A=[1,2] , C=1 , 3+0+1=4 , A->4 , C->0
        [] + [] , A=[4,1,2] C=0 , END
        </scratch>
        4 1 2

    The state is the text so far, an action is the next token, and a transition appends it. A model that was pre-trained on
    shorter operands fails at a few *critical tokens*, where the longer number must survive the copy.

    ## Action Space
    ``Discrete(VOCAB_SIZE)``: the next token. Every token is legal in every state (``action_masks()`` tells sb3-contrib so);
    padding ends the episode. ``addition_gym.decode`` turns token ids into text.

    ## Observation Space
    ``Box(0, VOCAB_SIZE - 1, (max_tokens,), int64)``: prompt and completion so far, padded on the right with ``PAD_TOKEN_ID``.

    ## Starting State
    The prompt of a problem drawn from ``distribution``. ``reset(options={"operands": (a, b)})`` sets the problem instead, and
    ``{"operands": (a, b), "completion": text}`` starts in the middle of its scratchpad: the text is already written.

    ## Rewards
    0 until the end. At the end 1 if the result line is exactly that of the sum, otherwise 0 (``reward="binary"``, the
    paper) or -1 (``reward="signed"``, the authors' code). The scratchpad above the result line is not judged.

    ## Episode End
    The episode terminates at the line break that ends the result line (the first line after the line ``</scratch>``), on
    the padding token, or when ``max_tokens`` are written. The budget is part of the task, so it terminates the episode;
    ``truncated`` is always False.

    ## Information
    ``reset`` returns ``operands``. The last step of an episode returns

    - ``is_success``: bool, whether the result line is right
    - ``operands``: ``(a, b)``
    - ``expected``: the right result line, such as ``"4 1 2"``
    - ``answer``: the given result line, or None if the completion ended before one
    - ``text``: prompt and completion
    - ``first_error``: index of the first completion token that departs from ``solution(a, b)``, or -1
    - ``critical_tokens``: indices, in prompt and completion together, of the tokens written where
      :func:`addition_gym.scratchpad.critical_tokens` has a critical one, up to the first error: after it the text is no
      longer that of the solution
    - ``problem_class``: which of the operands are longer than N: ``"short+short"``, ``"long+short"``, ``"short+long"`` or
      ``"long+long"``; the problems of a class are about equally hard

    ## Drafts
    ``env.unwrapped.draft(observation)`` says how a text, right or wrong so far, is likely to go on to its end: what a faithful
    reckoner would write next, taking what is written as the truth (:func:`addition_gym.drafts.draft`). It needs no episode,
    takes one observation or several, and only serves to decode faster; ``gym.make_vec`` has it, too.

    ## Arguments
    - ``digits``: the longest operand, in digits, >= 1
    - ``distribution``: ``"identical"``, ``"varying"``, ``"up_to"``, ``"longer"`` or ``"mixture"``; see
      :class:`addition_gym.problems.ProblemSampler`
    - ``pretrained_digits``: N of the mixture, the critical tokens and the classes, 1 <= N < ``digits``; by default
      ``digits - 1``
    - ``split``: ``"all"``, ``"train"``, ``"validation"`` or ``"test"``; a fixed hash puts one problem in ten into ``"test"``
      (final numbers only), another into ``"validation"`` (tuning, and curves during a run), the rest into ``"train"``
    - ``reward``: ``"binary"`` or ``"signed"``
    - ``max_tokens``: length of the observation, prompt and completion together; by default the longest solution plus 16
    - ``render_mode``: None, ``"ansi"`` (``render()`` returns the text so far), ``"rgb_array"`` (a picture of it, for
      ``RecordVideo``; needs Pillow) or ``"human"`` (it is printed as it grows)

    ``env.spec`` and ``gym.make`` take all of them; ``gym.make_vec("ScratchpadAdd-v0", num_envs=64)`` gives the native
    vector environment, whose row i equals this environment seeded with seed + i. It has one argument more,
    ``n_samples_per_problem``; see :class:`addition_gym.vector_env.ScratchpadAddVectorEnv`.

    ## References
    - Vassoyan, Beau, Plaud (2025), "Ignore the KL Penalty! Boosting Exploration on Critical Tokens to Enhance RL
      Fine-Tuning", arXiv:2502.06533
    - Lee et al. (2024), "Teaching Arithmetic to Small Transformers", arXiv:2307.03381

    ## Version History
    * v0: initial version
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human", "rgb_array"], "render_fps": 30}  # type: ignore[misc]

    def __init__(
        self,
        digits: int = DEFAULT_DIGITS,
        distribution: Distribution = "mixture",
        pretrained_digits: int | None = None,
        split: Split = "all",
        reward: Reward = "binary",
        max_tokens: int | None = None,
        render_mode: Literal["ansi", "human", "rgb_array"] | None = None,
    ):
        self.sampler = make_sampler(digits, distribution, pretrained_digits, split)
        self.failure_reward = failure_reward(reward)
        self.max_tokens = resolve_max_tokens(max_tokens, digits)
        one_of("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.render_mode = render_mode
        self.observation_space = token_space(self.max_tokens)  # type: ignore[assignment]
        self.action_space = spaces.Discrete(VOCAB_SIZE)
        self._operands = (0, 0)
        self._tokens = np.full(self.max_tokens, PAD_TOKEN_ID, dtype=np.int64)
        self._length = 0
        self._prompt_length = 0
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tokens, dict[str, Any]]:
        """Start an episode.

        :param seed: seeds the problem stream; the same seed always gives the same problems
        :param options: ``{"operands": (a, b)}`` sets the problem; ``"completion"`` beside it, the text that is already written
        :return: the observation, int64 of shape ``(max_tokens,)``, and ``{"operands": (a, b)}``
        :raises TypeError: if ``options`` is not a dict, the seed or an operand is not an int, or the completion is not a string
        :raises ValueError: if ``options`` has an unknown key, or a completion without operands; if the seed or an operand is
            negative, the solution does not fit into ``max_tokens``, or the completion leaves nothing to write
        """
        check_seed(seed)
        options = check_options(options)
        problem = check_problem(options.get("operands"), self.max_tokens)
        completion = check_completion(options.get("completion", ""), problem, self.max_tokens)
        super().reset(seed=seed)
        self._operands = problem or self.sampler.sample(self.np_random)
        prompt = scratchpad.prompt(*self._operands)
        written = encode(prompt + completion)
        self._tokens[:] = PAD_TOKEN_ID
        self._tokens[: len(written)] = written
        self._length, self._prompt_length = len(written), len(prompt)
        self._running = True
        if self.render_mode == "human":
            print(prompt + completion, end="", flush=True)
        return self._tokens.copy(), {"operands": self._operands}

    def step(self, action: np.int64 | int) -> tuple[Tokens, float, bool, bool, dict[str, Any]]:
        """Append a token.

        :param action: token id in ``[0, VOCAB_SIZE)``
        :return: observation, reward, terminated, truncated (always False), info
        :raises ValueError: before the first ``reset``, after the end of an episode, or if the token id is not in the action
            space
        """
        if not self._running:
            raise ValueError("step needs a running episode, but there is none: call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(
                f"action must be a token id, an integer in [0, {VOCAB_SIZE}), but it is {shown(action)}: "
                "pass an id as addition_gym.encode returns"
            )
        self._tokens[self._length] = action
        self._length += 1
        completion = decode(self._tokens[self._prompt_length : self._length])
        if self.render_mode == "human":
            print(decode(np.array([action])), end="", flush=True)
        result_line_ended = scratchpad.answer(completion) is not None
        terminated = result_line_ended or int(action) == PAD_TOKEN_ID or self._length == self.max_tokens
        if not terminated:
            return self._tokens.copy(), 0.0, False, False, {}
        self._running = False
        if self.render_mode == "human" and not result_line_ended:
            print(flush=True)
        info = end_of_episode(completion, self._operands, self.sampler.pretrained_digits)
        return self._tokens.copy(), 1.0 if info["is_success"] else self.failure_reward, True, False, info

    draft = staticmethod(draft)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal, for sb3-contrib: all of them. Bool of shape ``(VOCAB_SIZE,)``."""
        return np.ones(VOCAB_SIZE, dtype=np.bool_)

    def render(self) -> str | npt.NDArray[np.uint8] | None:
        """The text so far if ``render_mode`` is ``"ansi"``, a picture of it if it is ``"rgb_array"``."""
        if self.render_mode == "rgb_array":
            return picture(decode(self._tokens))
        return decode(self._tokens) if self.render_mode == "ansi" else None
