"""``make soak``: a lab under load whose processes are killed at random moments, and what must be true afterwards."""
