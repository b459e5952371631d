"""How the tokens of a rollout are weighted in the terms of the loss."""
