"""Settings: the specification of a comparison with its defaults, its YAML file, sweeps over it.

The command line builds a `RunSpec` from options and files. Planning, execution, storage and
reports read it; `suite.sensitivity` and `suite.bench` have specifications of their own form.
"""
