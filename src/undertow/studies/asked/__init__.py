"""What is asked: the spec of a study, its presets, and the plan of cells and units."""
