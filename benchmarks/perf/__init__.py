"""Speed measurements: run by hand or in CI, never part of a score."""
