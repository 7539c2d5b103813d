"""Statistics of profiles, on plain arrays: effects, intervals, bands."""
