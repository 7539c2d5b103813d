"""Cost of the information engine: pairs a second, profiles against the forward pass, memory."""
