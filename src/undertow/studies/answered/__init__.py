"""What is answered, from stored results alone: questions, claims, curves and tables."""
