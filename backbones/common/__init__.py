"""What all packages share: errors with a mend, registries, the syntax of names with settings, bounded readers.

The ground floor: nothing here imports anything else of the project.
"""
