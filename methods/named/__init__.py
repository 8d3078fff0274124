"""The methods, one file each: which parts it is made of, its paper, its defaults and its options.

`methods.METHODS` finds them by name.
"""
