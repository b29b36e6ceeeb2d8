"""Commands about the engine itself: version, info, events, disk usage, pruning, logins."""
