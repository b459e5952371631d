"""A progress bar for rollouts in which lanes idle."""

from stable_baselines3.common.callbacks import ProgressBarCallback


class TimestepsBar(ProgressBarCallback):
    """SB3's progress bar, by the timesteps that count; full while the last episodes are written, beyond ``total_timesteps``."""

    def _on_training_start(self) -> None:
        self.start = self.model.num_timesteps
        super()._on_training_start()

    def _on_step(self) -> bool:
        self.pbar.update(min(self.model.num_timesteps - self.start, self.pbar.total) - self.pbar.n)
        return True
