"""An online-learning contextual-bandit server."""
