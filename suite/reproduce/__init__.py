"""Published tables, run again: what a source states beside what is measured here.

A table is a YAML file: those of the suite are in `tables/`, a user's own is named by its path. It
says which comparison to run, so that `suite.comparison` runs it, and what its source states of
each cell. `suite.cli.reproduce` is the command.

Files, in the order of the work: `table` (the form of the file), `listed` (finding and reading one),
`layout` (its cells, without weights or data), `reasons` (why a value cannot be compared), `rows`
(published beside measured), `run` (its plan and its own table), `spec` (settings of the command),
`output` (terminal and JSON).
"""
