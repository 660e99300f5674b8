"""CrossFlow Bench, the library: couplings, encoders, networks, budgeted training. Knows no task."""
