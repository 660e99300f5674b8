"""The harness: tasks, metrics, commands, records and reports."""
