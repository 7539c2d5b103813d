"""What rankings of maps cost, what they restore, and how much any set of maps could."""
