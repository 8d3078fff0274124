"""Speed and memory: of methods and budgets, of the reduction, of the scan kernels, of whole models.

`bench` on the command line measures with it. `speed` leaves rows that the reports and the merge
read; the other measurements are tables for a terminal. Nothing here knows a result of a comparison.
"""
