"""Which dimensions of a network hang together as channels, and what must change when one of them grows.

`operators` says for each operator how channels pass through it, in terms of the `steps`; `plan` decides the new sizes
and where the added lanes go; `apply` carries the plan out. The idea is the dependency graph of structured pruning
(Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023), used here to grow dimensions.
"""
