"""The plan of a run: models, images and cells, and how many tokens leave at each site to meet a budget.

`suite.comparison` plans once; execution and analysis follow the plan.
"""
