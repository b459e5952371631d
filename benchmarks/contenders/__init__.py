"""Ways to do the same work: ours, stock Stable-Baselines3, transformers, and the products of matrices alone."""
