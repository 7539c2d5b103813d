"""What attacks are made of: balls, losses, rows, saliency, settings, wrappers of models."""
