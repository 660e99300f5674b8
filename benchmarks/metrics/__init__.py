"""Thin, named wrappers around the metric libraries of the field."""
