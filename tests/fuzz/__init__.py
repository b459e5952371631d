"""Random and mutated token streams, texts, configurations and files: ``python -m tests.fuzz --cases 100000 --seed 0``."""
