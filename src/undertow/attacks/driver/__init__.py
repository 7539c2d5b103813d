"""The driver: it owns the loop around an attack, records, judges, counts and stores."""
