"""FLOPs of a backbone: a closed form by kind and convention, two counters, published figures.

The planner solves budgets with the closed form; the counters know nothing of it and check it in
`verify` and in the tests; the published figures show that each family's own count comes out.
"""
