"""What a study is asked: its spec, and the plan that follows from it."""
