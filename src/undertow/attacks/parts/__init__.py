"""What attacks share: balls, losses, saliency, changes of variable, settings."""
