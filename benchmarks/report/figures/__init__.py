"""Figures from records: one function per figure, each from one data frame; `files` is the entry."""
