"""Frozen networks between data and flows: pictures, texts, captions."""
