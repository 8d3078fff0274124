"""What a run is asked to do: the specification with its defaults, its YAML file, and sweeps over it.

The command line and the Python interface build a `RunSpec`; everything else reads it.
"""
