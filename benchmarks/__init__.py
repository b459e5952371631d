"""How fast this project is, against what else one would use and against what the machine allows: ``python -m benchmarks``."""
