"""What is measured: every figure is a ratio of medians that were taken in one run, in turns."""
