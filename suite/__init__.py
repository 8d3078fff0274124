"""A benchmark suite for token reduction on vision Mamba: plan, run, store, analyse, report.

The command line (`suite.cli`) runs on top of everything; `suite.comparison` is the path of a
comparison on one page, and the packages below it are one step each.
"""
