"""Many runs: their arms, the store that keeps them, the runner that makes them, and what they say together."""
