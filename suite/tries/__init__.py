"""Tries: what each method keeps under each of its settings, and the setting picked by it.

A setting is a schedule and a window round the class token. `settings` lists those of a method,
`table` reads and writes the tries of one backbone, `bundled` finds the tables that come with the
suite. `suite.tune` makes the tables; `suite.plan` takes settings from them, and `suite.analysis`
answers.
"""
