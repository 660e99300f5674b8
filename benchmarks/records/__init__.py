"""What a run leaves: records, keys, items, samples."""
