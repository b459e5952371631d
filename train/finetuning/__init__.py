"""Fine-tuning by reinforcement learning: its arguments, and the run."""
