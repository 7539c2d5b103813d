"""Cost of the information engine: pairs a second, profiles against the forward pass, memory."""

import os

# As the command line has it; must be told before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
