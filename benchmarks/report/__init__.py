"""What people read, made from records alone; `command` is the command line over it. No torch."""
