"""Plans of runs: models, images, cells, and the tokens that leave at each site for a budget.

`suite.comparison` plans once; execution and analysis follow the plan.
"""
