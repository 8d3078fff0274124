"""Parts of methods: scores, matchings, combinations, orders, features and their cost.

Every part is a plain function that can be used alone; `methods.named` and `methods.reduce` put them
together.
"""
