"""All tests run on one thread of the CPU: a resumed run is bit for bit the same only there."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch
