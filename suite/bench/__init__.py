"""Measurements of speed, each beside a yardstick."""
