"""A deployment checklist as a command: `irkit check`.

confidence.py   temperature, expected calibration error, conformal prediction sets
limits.py       the gates and their limits, by default those of irkit's first users
measured.py     what is measured once and asked for by several lines
checklist.py    the lines of the checklist
"""
