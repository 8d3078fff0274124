"""Where the shards of a run are evaluated; whoever does it, the same files come of it.

Nothing is imported here, so that a worker process can look to its own packages
(`suite.system.installation`) before it takes in any of them.
"""
