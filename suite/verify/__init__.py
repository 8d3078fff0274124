"""Checks of what a user can check here: kernels, backbones, methods, published FLOPs.

`verify` on the command line prints them, a line each. The contracts of methods and backbones are
checked for a third party's too, and the tests of both packages call them.
"""
