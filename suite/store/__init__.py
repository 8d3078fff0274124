"""The run folder: its schema, files with checksums, locks, and how a run is found.

Execution writes shards here, `suite.comparison` records and tables; reports read what
`suite.store.schema` describes.
"""
