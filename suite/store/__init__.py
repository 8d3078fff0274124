"""A run on disk: its folder, the columns and units of its tables, checksums, locks, and how a run is found."""
