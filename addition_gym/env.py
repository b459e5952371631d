"""A task as a Gymnasium environment, one token per step; ``ScratchpadAdd-v0`` with its manual."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from addition_gym import drafts
from addition_gym.checks import one_of, shown
from addition_gym.episode import (
    Reward,
    Tokens,
    check_completion,
    check_options,
    check_problem,
    check_seed,
    end_of_episode,
    failure_reward,
    resolve_max_tokens,
    token_space,
)
from addition_gym.picture import picture
from addition_gym.problems import Distribution, Split
from addition_gym.tasks import make_task
from addition_gym.tasks.addition import DEFAULT_DIGITS, addition
from addition_gym.tasks.task import Task
from addition_gym.vocabulary import PAD_TOKEN_ID


class TokenEnv(gym.Env[Tokens, np.int64]):
    """Any :class:`addition_gym.tasks.task.Task`, token by token; the task's docstring says what it asks.

    An action is the next token, an observation prompt and completion so far, padded on the right. The episode ends with the
    line break after the answer, with padding, or when the budget is spent, which is part of the task and so terminates it. Its
    last step is rewarded: 1 for a right answer, else 0 (``reward="binary"``) or -1 (``"signed"``). The ``info`` then has
    ``is_success``, the problem, ``expected``, ``answer``, ``text``, ``first_error``, ``critical_tokens`` and ``problem_class``
    (:class:`ScratchpadAddEnv` says what they are).

    :param task: the task, or the id that it is registered under
    :param reward: ``"binary"`` or ``"signed"``
    :param max_tokens: length of the observation, prompt and completion together; by default the longest solution plus 16
    :param render_mode: None, ``"ansi"``, ``"rgb_array"`` or ``"human"``
    :param arguments: fields of the task, if its id is given
    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human", "rgb_array"], "render_fps": 30}  # type: ignore[misc]

    def __init__(
        self,
        task: Task | str,
        reward: Reward = "binary",
        max_tokens: int | None = None,
        render_mode: Literal["ansi", "human", "rgb_array"] | None = None,
        **arguments: Any,
    ):
        self.task = make_task(task, arguments)
        self.failure_reward = failure_reward(reward)
        self.max_tokens = resolve_max_tokens(max_tokens, self.task)
        one_of("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.render_mode = render_mode
        self.vocab_size = self.task.vocabulary.size
        self.observation_space = token_space(self.max_tokens, self.vocab_size)  # type: ignore[assignment]
        self.action_space = spaces.Discrete(self.vocab_size)
        self._decode = self.task.vocabulary.decode
        self._problem: Any = None
        self._tokens = np.full(self.max_tokens, PAD_TOKEN_ID, dtype=np.int64)
        self._length = 0
        self._prompt_length = 0
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tokens, dict[str, Any]]:
        """Start an episode.

        :param seed: seeds the problem stream; the same seed always gives the same problems
        :param options: ``{"problem": ...}`` sets the problem (addition: ``{"operands": (a, b)}``); ``"completion"`` beside it,
            the text that is already written
        :return: the observation, int64 of shape ``(max_tokens,)``, and the problem under the same key
        :raises TypeError: if ``options`` is not a dict, the seed is not an int, the completion is not a string, or the problem
            has a wrong type
        :raises ValueError: if ``options`` has an unknown key, or a completion without a problem; if the seed is negative, the
            task has no such problem, its solution does not fit into ``max_tokens``, or the completion leaves nothing to write
        """
        check_seed(seed)
        key = self.task.problem_key
        options = check_options(options, key)
        problem = check_problem(self.task, options.get(key), self.max_tokens)
        completion = check_completion(self.task, options.get("completion", ""), problem, self.max_tokens)
        super().reset(seed=seed)
        self._problem = self.task.sample(self.np_random) if problem is None else problem
        prompt = self.task.prompt(self._problem)
        written = self.task.vocabulary.encode(prompt + completion)
        self._tokens[:] = PAD_TOKEN_ID
        self._tokens[: len(written)] = written
        self._length, self._prompt_length = len(written), len(prompt)
        self._running = True
        if self.render_mode == "human":
            print(prompt + completion, end="", flush=True)
        return self._tokens.copy(), {key: self._problem}

    def step(self, action: np.int64 | int) -> tuple[Tokens, float, bool, bool, dict[str, Any]]:
        """Append a token.

        :param action: token id in ``[0, V)``
        :return: observation, reward, terminated, truncated (always False), info
        :raises ValueError: before the first ``reset``, after the end of an episode, or if the token id is not in the action
            space
        """
        if not self._running:
            raise ValueError("step needs a running episode, but there is none: call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(
                f"action must be a token id, an integer in [0, {self.vocab_size}), but it is {shown(action)}: "
                "pass an id as the vocabulary's encode returns"
            )
        self._tokens[self._length] = action
        self._length += 1
        completion = self._decode(self._tokens[self._prompt_length : self._length])
        if self.render_mode == "human":
            print(self._decode(np.array([action])), end="", flush=True)
        answered = self.task.answer(completion) is not None
        terminated = answered or int(action) == PAD_TOKEN_ID or self._length == self.max_tokens
        if not terminated:
            return self._tokens.copy(), 0.0, False, False, {}
        self._running = False
        if self.render_mode == "human" and not answered:
            print(flush=True)
        info = end_of_episode(self.task, completion, self._problem)
        return self._tokens.copy(), 1.0 if info["is_success"] else self.failure_reward, True, False, info

    @property
    def draft(self) -> Callable[[Tokens], Tokens] | None:
        """How texts are likely to go on (:meth:`addition_gym.tasks.task.Task.draft`); None if the task cannot guess."""
        return self.task.draft if self.task.continuation else None

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal, for sb3-contrib: all of them. Bool of shape ``(V,)``."""
        return np.ones(self.vocab_size, dtype=np.bool_)

    def render(self) -> str | npt.NDArray[np.uint8] | None:
        """The text so far if ``render_mode`` is ``"ansi"``, a picture of it if it is ``"rgb_array"``."""
        if self.render_mode == "rgb_array":
            return picture(self._decode(self._tokens))
        return self._decode(self._tokens) if self.render_mode == "ansi" else None


class ScratchpadAddEnv(TokenEnv):
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
    ``truncated`` is always False. ``</scratch>`` with something else on its line closes nothing; the episode goes on.

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

    draft = staticmethod(drafts.draft)  # it needs no instance

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
        super().__init__(addition(digits, distribution, pretrained_digits, split), reward, max_tokens, render_mode)
