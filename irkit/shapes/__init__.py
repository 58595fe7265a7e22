"""Rules of shape inference; `irkit.infer` is the door.

facts.py    what is known of a value besides its type: a constant, or a vector some of whose elements are known
partial.py  how facts pass through shape arithmetic
rules.py    types of outputs where facts are needed, or where asking onnx for each node would be slow
recorded.py what to believe of recorded types
control.py  If, Loop, Scan
"""
