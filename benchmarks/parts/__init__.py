"""One table each."""
