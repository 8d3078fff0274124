"""Where the shards of a run are evaluated: by this process, or by Ray's workers.

`choose` gives `suite.comparison` the executor that the command line names. `shards` cuts a run into
shards and evaluates one, `local` does so for all in this process, `ray_executor` hands them to Ray
tasks, and `provenance` records how a run was executed. Any executor leaves the same files.

Nothing is imported here, so that a worker process can check its path of packages
(`suite.system.installation`) before it imports any of them.
"""
