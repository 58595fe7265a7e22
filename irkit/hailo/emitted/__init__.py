"""Files that go into a bundle as they are. They import nothing of irkit: they run where it is not installed."""
