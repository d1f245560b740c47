"""Words shared by the control plane and the agents: frozen structs, JSON in and out, no logic."""
