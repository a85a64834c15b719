"""Segments, their lanes, and how a lane keeps at the head of its log."""
