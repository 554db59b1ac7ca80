"""Benchmarks: this project side by side with what one would run instead, in one run, as ratios."""
