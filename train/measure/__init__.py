"""What is measured on a policy: accuracy, the tokens of a completion, statistics over runs; and its tables and pictures."""
