"""Training of the bundled backbones by resumable recipes.

`recipes` says how each backbone is trained, `loop` trains it, `state` resumes, and `export` writes
weights and their card. Used by ``python -m suite train``; `list` reads the names of the recipes.
"""
