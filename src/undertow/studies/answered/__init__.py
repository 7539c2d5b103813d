"""What a study answers: stored results, questions and their verdicts."""
