"""Static figures at paper size: functions from tables to matplotlib figures.

`canvas` has the settings that all share and turns a figure into bytes. The sections of the page
and `reports.static_figures` call these functions.
"""
