"""Arms under one budget: trains, samples, scores and records them."""
