"""Models as plain GPT-2 folders."""
