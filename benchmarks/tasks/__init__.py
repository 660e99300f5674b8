"""Benchmark tasks, one file each: the file name is the task name."""
