"""What is done: units of work, the workshop that each process builds, and those that share it."""
