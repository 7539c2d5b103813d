"""What runs an attack, records its iterates, matches its strength and reads it back from disk."""
