"""What a study does: units of work, how strong attacks are, and who works."""
