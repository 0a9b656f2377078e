"""Speed as ratios against rivals run side by side."""
