"""What the terminal shows: tables of results, progress, and the cards of methods.

The command line prints with it; a comparison and a sensitivity analysis report their progress.
"""
