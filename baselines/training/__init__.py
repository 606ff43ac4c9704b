"""Training of the flow prior: what it learns from, the steps, what is kept and shown."""
