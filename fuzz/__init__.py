"""``make fuzz``: every route of every service, driven from its own declarations with requests that are nearly right."""
