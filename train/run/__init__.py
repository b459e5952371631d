"""A run: its folder, arguments, checkpoints, log and signals; and the models that runs start from and make."""
