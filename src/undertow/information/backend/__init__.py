"""Where the numbers are computed: compiled for the processor, or by torch on any device."""
