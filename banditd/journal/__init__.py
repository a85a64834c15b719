"""The ordered log of outcomes, and the decisions they come from."""
