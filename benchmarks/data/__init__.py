"""Reads what users have: files, pictures, captions, depth, photographs, predictions."""
