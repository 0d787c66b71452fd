"""Fuzzing by coverage: `make fuzz`."""
