"""The suite from Python: what `import suite` offers, one file a thing.

It stands above everything, as the command line does, and asks the same engine.
"""
