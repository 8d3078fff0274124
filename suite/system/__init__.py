"""The machine and the installation: files, memory, threads, hardware, environment.

Small modules without knowledge of models or methods, used by every room above: files written
atomically, running out of memory, the description of the machine that goes into a run folder, and
the checks that `python -m suite` does before it imports anything else.
"""
