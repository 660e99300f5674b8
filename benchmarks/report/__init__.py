"""What people read, made from records alone: leaderboard, tables, published numbers.

One file per report; `command` is the command line over them. Nothing here imports torch.
"""
