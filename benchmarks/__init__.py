"""Speed and memory of irkit against its peers, as ratios measured in one run."""
