"""Statistics of paired outcomes as pure numbers: exact tests, intervals, and rules on them.

Used by `suite.analysis`, which turns outcomes into tables and sentences, and by `suite.sensitivity`
and `suite.bench`; reports take the names and rules that they repeat from here.
"""
